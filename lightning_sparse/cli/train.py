"""``lightning-sparse train``: one end point."""

from lightning_sparse.cli.slurm import refuse_means, submit_jobs
from lightning_sparse.execution.seeds import run_over_seeds
from lightning_sparse.execution.session import first_rank_console, run_wanted
from lightning_sparse.execution.summaries import describe_run
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.records import RunRecord
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.variants import replaced


def run(settings: Composed) -> None:
    """Train the arm that the settings name, unless it is finished, and print what came out."""
    console = first_rank_console()
    if settings.sweep.seeds:
        run_over_seeds(settings, plan_training, console)
        return
    job = plan_training(settings)
    run_wanted(job, console)
    record = job.record()
    assert isinstance(record, RunRecord)
    text = f"{describe_run(record)}\n{job.run_dir}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def submit(settings: Composed) -> None:
    """Submit it, or one for each of ``slurm.seeds``, with the runs it needs, unless finished."""
    refuse_means(settings)
    seeds = settings.slurm.seeds or [settings.seed]
    submit_jobs(settings, [plan_training(replaced(settings, {"seed": seed})) for seed in seeds])
