"""``lightning-sparse publish``: keep the small files behind published numbers under results/."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.report import CLAIMS_FILE, RECORDS_FILE, read_experiment, report_dir
from lightning_sparse.errors import UserError
from lightning_sparse.storage import write_bytes_atomic

RESULTS_DIR = Path("results")
FILES = (RECORDS_FILE, CLAIMS_FILE, "figures/headline.png")


def run(settings: Settings) -> None:
    """Copy records, claims and the headline figure of the experiment to ``results/EXPERIMENT/``."""
    source = report_dir(settings)
    for name in FILES:
        if not (source / name).is_file():
            raise UserError(f"no file {source / name}; run `make reproduce` first")
    read_experiment(source / RECORDS_FILE, settings)
    target = RESULTS_DIR / settings["experiment_name"]
    for name in FILES:
        write_bytes_atomic(target / Path(name).name, (source / name).read_bytes())
    Console().print(f"copied to {target}", highlight=False)
