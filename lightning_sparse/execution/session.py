"""What the verbs share: how many processes there may be, and how one wanted job is run."""

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.execution.launch import is_first_of_run
from lightning_sparse.execution.worker import look_at, run_job
from lightning_sparse.pipeline.jobs import unfinished, with_needs
from lightning_sparse.pipeline.places import (
    AbstractPlaces,
    Anywhere,
    OnGpus,
    chosen_gpus,
    read_gpus,
)
from lightning_sparse.pipeline.runner import run_here, run_jobs
from lightning_sparse.settings.batches import gpus_of, num_nodes
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def places(
    settings: Composed, console: Console, plan: Literal["reproduce", "sweep"] = "reproduce"
) -> AbstractPlaces:
    """Where runs go side by side: on GPUs if they train there and they can be seen.

    Args:
        settings: Of the runs.
        console: Where it is said how many share a GPU.
        plan: The group of settings whose ``num_processes`` says how many run at once; null for one
            per core, or on GPUs as many as fit.
    """
    group = settings.sweep if plan == "sweep" else settings.reproduce
    number = group.num_processes
    devices = gpus_of(settings.trainer)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    uuids = [] if devices is None else chosen_gpus(read_gpus(), devices, visible)
    if not uuids:
        return Anywhere(number or num_cores())
    return OnGpus(
        uuids,
        num_processes=number,
        setting=f"{plan}.num_processes",
        num_cores=num_cores(),
        say=functools.partial(console.print, markup=False, highlight=False, soft_wrap=True),
    )


def make_all(
    jobs: Sequence[Job],
    at: AbstractPlaces,
    console: Console,
    *,
    looked_at: Sequence[Job] | None = None,
) -> None:
    """Make what is missing of several jobs, side by side, after a look at all of them.

    Args:
        jobs: What is wanted.
        at: Where they go, of `places`.
        console: Where progress is shown.
        looked_at: What is looked at before the first begins, if more than these will follow.

    Raises:
        UserError: If one is for several ranks or the look refuses it, with none begun; or if some
            failed, after all others.
        DivergedError: If all of those that failed did so by leaving the finite numbers.
    """
    _check_ranks(unfinished(jobs))
    look = functools.partial(look_at, jobs if looked_at is None else looked_at)
    run_jobs(jobs, run_job, places=at, console=console, first=look)


def make_all_that_converge(
    jobs: Sequence[Job], at: AbstractPlaces, console: Console
) -> DivergedError | None:
    """Make several jobs as `make_all` does; return what to raise once the others are reported.

    Raises:
        UserError: If one failed otherwise than by leaving the finite numbers.
    """
    try:
        make_all(jobs, at, console)
    except DivergedError as error:
        return error
    return None


def _check_ranks(jobs: Sequence[Job]) -> None:
    """Refuse to train on several ranks from here, where every run is one process beside others."""
    for trainer in (job.settings.trainer for job in jobs):
        if (trainer.get("devices", 1), num_nodes(trainer)) != (1, 1):
            raise UserError(
                f"trainer.devices={trainer.get('devices', 1)}, "
                f"trainer.num_nodes={num_nodes(trainer)}: several runs are made side by side, each "
                "in one process; submit them with where=slurm, or say trainer.devices=1 (on one "
                "machine with GPUs, a recipe without global_batch_size has one run on each)"
            )


def num_cores(cpu_quota: Path = _CPU_QUOTA) -> int:
    """Cores that this process may use: a container's share may be less than the machine's."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if cpu_quota.is_file():
        quota, period = cpu_quota.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, math.floor(int(quota) / int(period))))
    return cores


def first_rank_console() -> Console:
    """Return where results are printed; the other ranks of a run would say the same, and do not."""
    return Console(quiet=not is_first_of_run())


def run_wanted(job: Job, console: Console) -> None:
    """Run one job and, first, the unfinished jobs it needs; say which, and how to avoid it."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if job.is_finished:
        say(f"{job.run_id} is finished already; remove its folder to make it again")
        if "WANDB_SWEEP_ID" in os.environ:
            from lightning_sparse.execution.execute import tell_tracker_again  # torch: 8 seconds

            tell_tracker_again(job)
        return
    needed = unfinished(with_needs(job.needs))
    for item in needed:
        say(f"needs {item.run_id}, which is not there: it is made first ({item.title})")
    sources = {
        need.run_id for item in (*needed, job) if item.kind == "train" for need in item.needs
    }
    if any(item.run_id in sources for item in needed):
        say("to take the masks of another pruned run, give its folder: mask_source=FOLDER")
    if needed:
        look_at([job])
    # Agents of one sweep share what their points need.
    waits = "WANDB_SWEEP_ID" in os.environ
    make = functools.partial(run_job, waits=waits, wanted=job.run_id)
    run_here([job], make, console=console)
