"""One session of measurements: rows one after the other, printed and recorded as they end."""

import datetime
import importlib
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.page import count_verdicts, terminal_table
from benchmarks.pairing import Trial, run_trial
from benchmarks.records import TrialRecord, append_record, to_record
from benchmarks.workloads import Scale
from lightning_sparse.errors import UserError
from lightning_sparse.execution.worker import silence_lightning
from lightning_sparse.training.numerics import set_deterministic
from lightning_sparse.training.provenance import provenance


def run_session(
    rows: Iterable[str],
    *,
    scale: Scale,
    budget: float,
    file: Path,
    seconds: float = math.inf,
) -> bool:
    """Measure rows; every trial is recorded as soon as it ends.

    Args:
        rows: Names of files in ``benchmarks/rows``.
        scale: Where they run.
        budget: Multiple of each trial's usual time.
        file: Records are appended here.
        seconds: When they are over no further trial begins; what is left out is named.

    Returns:
        Whether every claim holds, and nothing was left out.
    """
    session = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    until = time.monotonic() + seconds
    silence_lightning()
    console = Console()
    records: list[TrialRecord] = []
    left_out: list[str] = []
    for row, trial in _trials(rows, scale, until, left_out):
        remaining = max(0.0, until - time.monotonic())
        outcome = run_trial(trial, budget=min(budget, remaining / trial.seconds))
        record = to_record(outcome, session=session, row=row, provenance=provenance())
        append_record(record, file)
        console.print(terminal_table(record))
        records.append(record)
    verdicts = count_verdicts(records)
    counts = ", ".join(f"{count} {name}" for name, count in verdicts.items())
    lines = [f"records: {file}", counts]
    if left_out:
        lines.insert(0, f"left out, since {seconds:g} seconds are over: {', '.join(left_out)}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    hold = set(verdicts) <= {"holds", "falls short", "measured"} and not verdicts["falls short"]
    return hold and not left_out


def _trials(
    rows: Iterable[str], scale: Scale, until: float, left_out: list[str]
) -> Iterator[tuple[str, Trial]]:
    """Yield the trials of all rows until the time is over, and note what that leaves out."""
    for row in rows:
        if time.monotonic() >= until:
            left_out.append(row)
            continue
        for trial in importlib.import_module(f"benchmarks.rows.{row}").trials(scale):
            # Building one takes time too: compiling, painting.
            if time.monotonic() >= until:
                left_out.append(f"the rest of {row}")
                break
            yield row, trial


def accelerator() -> torch.device:
    """Return the device of the accelerator rows, before anything is computed there.

    Raises:
        UserError: If there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("--accelerator: PyTorch finds no CUDA device here; leave it out")
    # cuBLAS reads when it starts how it can be deterministic later; until then it need not be.
    set_deterministic(value=True)
    set_deterministic(value=False)
    return torch.device("cuda")
