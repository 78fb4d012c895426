"""``lightning-sparse publish``: keep the small files behind published numbers under results/."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.judge import rules_of
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.report import CLAIMS_FILE, RECORDS_FILE, read_experiment, report_dir
from lightning_sparse.errors import UserError
from lightning_sparse.records import NEWEST_RULES
from lightning_sparse.storage import write_bytes_atomic

RESULTS_DIR = Path("results")
FILES = (RECORDS_FILE, CLAIMS_FILE, "figures/headline.png")


def results_dir(experiment: str, rules: int) -> Path:
    """Return where results are published: those of older rules beside the others, and named so."""
    folder = RESULTS_DIR if rules == NEWEST_RULES else RESULTS_DIR / f"rules_{rules}"
    return folder / experiment


def run(settings: Settings) -> None:
    """Copy records, claims and headline figure to `results_dir`, by the rules of their time."""
    source = report_dir(settings)
    for name in FILES:
        if not (source / name).is_file():
            raise UserError(f"no file {source / name}; run `make reproduce` first")
    records = read_experiment(source / RECORDS_FILE, settings)
    target = results_dir(settings["experiment_name"], rules_of(records))
    for name in FILES:
        write_bytes_atomic(target / Path(name).name, (source / name).read_bytes())
    Console().print(f"copied to {target}", highlight=False)
