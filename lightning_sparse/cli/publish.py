"""``lightning-sparse publish``: keep the small files behind published numbers under results/."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.judge import rules_of
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.methods import PILOT_FILE, methods_dir
from lightning_sparse.cli.report import CLAIMS_FILE, RECORDS_FILE, read_experiment, report_dir
from lightning_sparse.errors import UserError
from lightning_sparse.records import NEWEST_RULES
from lightning_sparse.storage import write_bytes_atomic

RESULTS_DIR = Path("results")
FILES = (RECORDS_FILE, CLAIMS_FILE, "figures/headline.png")
METHODS_FILES = (RECORDS_FILE, CLAIMS_FILE, PILOT_FILE, "report.md", "figures/methods.png")


def results_dir(experiment: str, rules: int) -> Path:
    """Return where results are published: those of older rules beside the others, and named so."""
    folder = RESULTS_DIR if rules == NEWEST_RULES else RESULTS_DIR / f"rules_{rules}"
    return folder / experiment


def run(settings: Settings) -> None:
    """Copy records, claims and headline figure to `results_dir`, by the rules of their time.

    Of an experiment that sets methods beside each other: their page, and the pilot.
    """
    if settings["methods"]["arms"]:
        _copy(settings, methods_dir(settings), METHODS_FILES, "make methods")
        return
    source = report_dir(settings)
    _require(source, FILES, "make reproduce")
    records = read_experiment(source / RECORDS_FILE, settings)
    target = results_dir(settings["experiment_name"], rules_of(records))
    for name in FILES:
        write_bytes_atomic(target / Path(name).name, (source / name).read_bytes())
    Console().print(f"copied to {target}", highlight=False)


def _copy(settings: Settings, source: Path, names: Sequence[str], command: str) -> None:
    """Copy files as they lie, so that a page finds its figures."""
    _require(source, names, command)
    read_experiment(source / RECORDS_FILE, settings)
    target = results_dir(settings["experiment_name"], NEWEST_RULES)
    for name in names:
        write_bytes_atomic(target / name, (source / name).read_bytes())
    Console().print(f"copied to {target}", highlight=False)


def _require(source: Path, names: Sequence[str], command: str) -> None:
    for name in names:
        if not (source / name).is_file():
            raise UserError(f"no file {source / name}; run `{command}` first")
