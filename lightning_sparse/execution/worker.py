"""What makes a job, here or in a worker process; importing it is cheap, so planning is too."""

import logging
import warnings
from collections.abc import Callable, Sequence

from lightning_sparse.execution.summaries import in_short
from lightning_sparse.pipeline.jobs import unfinished, with_needs
from lightning_sparse.settings.jobs import Job


def run_job(
    job: Job,
    report: Callable[[int, int], None] | None = None,
    *,
    waits: bool = True,
    wanted: str | None = None,
) -> str:
    """Run one job in this process and say in a few words what came out.

    Args:
        job: What to make.
        report: Called now and then with steps done and steps in all.
        waits: Whether to wait while another process makes the same run, instead of refusing.
        wanted: Id of the run that was asked for by name, of which others may have to be made first.
    """
    from lightning_sparse.execution.execute import execute  # torch: 8 seconds

    silence_lightning()
    try:
        return in_short(execute(job, report, waits=waits, is_sweep_point=job.run_id == wanted))
    except SystemExit as stop:
        # Lightning makes this of Ctrl-C.
        raise KeyboardInterrupt from stop


def look_at(jobs: Sequence[Job], *, is_here: bool = True) -> None:
    """Look at what is to be made, with what it needs, before the first of it begins.

    Args:
        jobs: What is wanted; what is finished needs no look.
        is_here: Whether they run on this machine.

    Raises:
        UserError: Naming what a job would be refused for.
    """
    waiting = unfinished(with_needs(jobs))
    if not waiting:
        return
    from lightning_sparse.execution.look import look_before  # torch: 8 seconds

    silence_lightning()
    look_before(waiting, is_here=is_here)


def silence_lightning() -> None:
    """Leave out what Lightning prints for every Trainer: devices, tips, and that it stopped."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
    warnings.filterwarnings("ignore", message=".*val_dataloader.*no `validation_step`.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
