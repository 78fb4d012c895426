"""``lightning-sparse report report.runs=...``: figures across the runs of a folder. No torch."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from lightning_sparse.errors import UserError
from lightning_sparse.records import RECORD_FILE, Record, read_record
from lightning_sparse.report.across import write_across
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import Composed

REPORT_DIR = "across"

# In the table of runs that W&B exports, and in what its API gives.
_NAME_COLUMNS = ("Name", "name", "display_name", "displayName")


def run(settings: Composed, source: Path) -> None:
    """Draw what the records on disk say; runs that have none are named."""
    runs_dir = source if source.is_dir() else Path(settings.runs_dir)
    records = _records(runs_dir)
    names = _unfinished(runs_dir) if source.is_dir() else exported_names(source)
    known = {record.run_id for record in records}
    missing = sorted(set(names) - known)
    if not records:
        raise UserError(
            f"report.runs={source}: no finished run in {runs_dir}; name a folder of runs"
        )
    shown = records if source.is_dir() else [item for item in records if item.run_id in names]
    console = Console()
    if missing:
        text = f"without a finished record in {runs_dir}: {', '.join(missing)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    page = write_across(shown, missing, runs_dir / REPORT_DIR, arms(settings))
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def exported_names(file: Path) -> list[str]:
    """Read the names of runs, which are run ids, from what W&B exports: CSV or JSON Lines.

    Raises:
        UserError: If the file is neither, or has no column of names.
    """
    if not file.is_file():
        raise UserError(f"report.runs={file}: is neither a folder of runs nor a file")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(
                csv.DictReader(stream) if file.suffix == ".csv" else map(json.loads, stream)
            )
    except (ValueError, csv.Error) as error:
        raise UserError(f"{file}: neither CSV nor JSON Lines ({error})") from error
    header = rows[0] if rows and isinstance(rows[0], dict) else {}
    column = next((name for name in _NAME_COLUMNS if name in header), None)
    if column is None:
        raise UserError(
            f"{file}: has no column {' or '.join(_NAME_COLUMNS[:2])}; export the table of runs of "
            "a W&B project"
        )
    # The report of an experiment is a W&B run too, but none of ours.
    return [name for row in rows if not (name := str(row[column])).startswith("report-")]


def _records(runs_dir: Path) -> list[Record]:
    return [read_record(file.parent) for file in sorted(runs_dir.glob(f"*/{RECORD_FILE}"))]


def _unfinished(runs_dir: Path) -> Iterable[str]:
    """Return the names of runs that W&B was told of and that have not finished."""
    return (file.parent.name for file in runs_dir.glob("*/wandb.json"))
