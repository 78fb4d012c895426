"""``lightning-sparse slurm-reproduce``: the whole experiment as SLURM jobs, with its report."""

from lightning_sparse.cli.slurm import submit_whole
from lightning_sparse.planning.reproduce import check, plan_all
from lightning_sparse.settings.compose import Composed


def run(settings: Composed) -> None:
    """Submit every run and path that is missing, and a job that reports on all of them."""
    check(settings)
    name = f"report-{settings.reproduce.dir}"
    submit_whole(settings, plan_all(settings), verb="reproduce", name=name)
