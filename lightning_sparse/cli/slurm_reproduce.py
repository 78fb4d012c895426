"""``lightning-sparse slurm-reproduce``: the whole experiment as SLURM jobs, with its report."""

from rich.console import Console

from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.reproduce import check, plan_all
from lightning_sparse.cli.slurm import resources_of, say, submitter, words_of
from lightning_sparse.cli.worker import look_at
from lightning_sparse.pipeline.jobs import unfinished


def run(settings: Settings) -> None:
    """Submit every run and path that is missing, and a job that reports on all of them."""
    check(settings)
    jobs = plan_all(settings)
    look_at(jobs, is_here=False)
    queue = submitter(settings)
    submitted = queue.submit_jobs(jobs, resources_of(settings), words_of)
    report = queue.submit(
        f"report-{settings['reproduce']['dir']}",
        ["reproduce", *settings["source"].words],
        resources_of(settings, alone=True),
        after=[job.job_id for job in submitted],
    )
    say(Console(), [*submitted, report], num_finished=len(jobs) - len(unfinished(jobs)))
