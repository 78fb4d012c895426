"""``lightning-sparse path``: one curve, fitted and measured."""

from lightning_sparse.cli.slurm import refuse_means, submit_jobs
from lightning_sparse.execution.seeds import run_over_seeds
from lightning_sparse.execution.session import first_rank_console, run_wanted
from lightning_sparse.execution.summaries import describe_path
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.records import PathRecord, RunRecord, read_record
from lightning_sparse.settings.compose import Composed


def run(settings: Composed) -> None:
    """Make the path that the settings name, unless it is finished, and print what came out."""
    console = first_rank_console()
    if settings.sweep.seeds:
        run_over_seeds(settings, plan_path, console)
        return
    job = plan_path(settings)
    run_wanted(job, console)
    record = job.record()
    start, end = (read_record(point.run_dir) for point in job.ends)
    assert isinstance(record, PathRecord)
    assert isinstance(start, RunRecord)
    assert isinstance(end, RunRecord)
    text = f"{describe_path(record, start, end)}\n{job.run_dir}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def submit(settings: Composed) -> None:
    """Submit it, with the runs it needs, unless they are finished."""
    refuse_means(settings)
    submit_jobs(settings, [plan_path(settings)])
