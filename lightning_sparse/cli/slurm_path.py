"""``lightning-sparse slurm-path``: one curve, and the runs at its ends, as SLURM jobs."""

from lightning_sparse.cli.slurm import submit
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.settings.compose import Composed


def run(settings: Composed) -> None:
    """Submit the path that the settings name, and the runs it needs, unless they are finished."""
    submit(settings, [plan_path(settings)])
