"""What verbs share that are submitted to SLURM: settings to resources, jobs to commands."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lightning_sparse.cli.slurm_job import run_command
from lightning_sparse.cluster.submission import Resources, Submitted, Submitter
from lightning_sparse.errors import UserError
from lightning_sparse.execution.worker import look_at
from lightning_sparse.pipeline.jobs import unfinished, with_needs
from lightning_sparse.settings.batches import num_devices, num_nodes
from lightning_sparse.settings.compose import Composed, latest
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.shipped import CONF_DIR

_REQUEUE_FILE = CONF_DIR / "slurm" / "requeue.sh"


def resources_of(settings: Composed, *, alone: bool = False) -> Resources:
    """Return what a job with these settings asks for; ``alone``: one process without a GPU."""
    trainer = settings.trainer
    devices = num_devices(trainer)
    is_on_cpu = trainer.get("accelerator") == "cpu"
    asked = settings.slurm
    setup = [f"source {shlex.quote(str(_REQUEUE_FILE))}", *asked.setup]
    return Resources(
        slurm=replace(asked, setup=setup),
        nodes=1 if alone else num_nodes(trainer),
        tasks_per_node=1 if alone else devices,
        gpus_per_node=0 if alone or is_on_cpu else devices,
    )


def submitter(settings: Composed) -> Submitter:
    """Return what submits, with its files beside the runs."""
    return Submitter(run_command, Path(settings.runs_dir, "slurm").absolute())


def submit_jobs(settings: Composed, jobs: Sequence[Job]) -> None:
    """Submit jobs and what they need, and say so; those that need nothing are one array."""
    look_at(jobs, is_here=False)
    waiting = unfinished(with_needs(jobs))
    submitted = submitter(settings).submit_jobs(
        jobs, resources_of(settings), words_of, array_name=settings.experiment_name
    )
    say(Console(), submitted, num_finished=len(with_needs(jobs)) - len(waiting))


def submit_whole(settings: Composed, jobs: Sequence[Job], *, verb: str, name: str) -> None:
    """Submit jobs and what they need, and one that comes after them all and reports.

    Args:
        settings: As composed.
        jobs: Runs and paths; what is finished is not submitted.
        verb: What the last job runs, with the same settings.
        name: Of the last job.
    """
    look_at(jobs, is_here=False)
    queue = submitter(settings)
    submitted = queue.submit_jobs(jobs, resources_of(settings), words_of)
    report = queue.submit(
        name,
        [verb, *_run_there(settings)],
        resources_of(settings, alone=True),
        after=[job.job_id for job in submitted],
    )
    say(Console(), [*submitted, report], num_finished=len(jobs) - len(unfinished(jobs)))


def refuse_means(settings: Composed) -> None:
    """Refuse to submit what only a command that makes the runs itself can average.

    Raises:
        UserError: If means over seeds are asked for.
    """
    if seeds := settings.sweep.seeds:
        raise UserError(
            f"sweep.seeds={list(seeds)}, where=slurm: means over seeds are made by a command that "
            "runs here; submit the runs of several seeds with multirun where=slurm seed=11,12"
        )


def say(console: Console, submitted: Sequence[Submitted], *, num_finished: int) -> None:
    """Print one line for each job in the queue, what failed before, how many runs need none."""
    lines = [f"job {job.job_id}: {job.name}" for job in submitted]
    lines += [
        f"{job.name} was submitted before and did not finish; its output: {job.failed}"
        for job in submitted
        if job.failed is not None
    ]
    if num_finished:
        lines.append(f"{num_finished} finished already")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def words_of(job: Job) -> list[str]:
    """Return the command that makes one job's run or path."""
    return [job.kind, *_run_there(job.settings)]


def _run_there(settings: Composed) -> list[str]:
    """Return the words of settings for a job, whose own machine is the one it runs on.

    An experiment may say ``where=slurm`` as well as a command.
    """
    return latest([*settings.source.words, "where=here"])
