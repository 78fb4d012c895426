"""One session of measurements: rows one after the other, printed and recorded as they end."""

import datetime
import importlib
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.page import count_verdicts, terminal_table
from benchmarks.pairing import run_trial
from benchmarks.records import TrialRecord, append_record, to_record
from benchmarks.workloads import Scale
from lightning_sparse.cli.worker import silence_lightning
from lightning_sparse.errors import UserError
from lightning_sparse.training.provenance import provenance


def run_session(rows: Iterable[str], *, scale: Scale, budget: float, file: Path) -> bool:
    """Measure rows; every trial is recorded as soon as it ends.

    Args:
        rows: Names of files in ``benchmarks/rows``.
        scale: Where they run.
        budget: Multiple of each trial's usual time.
        file: Records are appended here.

    Returns:
        Whether every claim holds.
    """
    session = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    silence_lightning()
    console = Console()
    records: list[TrialRecord] = []
    for row in rows:
        for trial in importlib.import_module(f"benchmarks.rows.{row}").trials(scale):
            outcome = run_trial(trial, budget=budget)
            record = to_record(outcome, session=session, row=row, provenance=provenance())
            append_record(record, file)
            console.print(terminal_table(record))
            records.append(record)
    verdicts = count_verdicts(records)
    counts = ", ".join(f"{count} {name}" for name, count in verdicts.items())
    for line in (f"records: {file}", counts):
        console.print(line, highlight=False, soft_wrap=True)
    return set(verdicts) <= {"holds", "falls short", "measured"} and not verdicts["falls short"]


def accelerator() -> torch.device:
    """Return the device of the accelerator rows.

    Raises:
        UserError: If there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("--accelerator: PyTorch finds no CUDA device here; leave it out")
    return torch.device("cuda")
