"""``lightning-sparse slurm-laboratory``: the laboratory as SLURM jobs, with its report."""

from lightning_sparse.cli.slurm import submit_whole
from lightning_sparse.planning.laboratory import plan_all
from lightning_sparse.settings.compose import Composed


def run(settings: Composed) -> None:
    """Submit every run and path that is missing, and a job that judges and reports."""
    name = f"laboratory-{settings.reproduce.dir}"
    submit_whole(settings, plan_all(settings), verb="laboratory", name=name)
