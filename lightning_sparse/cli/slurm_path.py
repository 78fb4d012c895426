"""``lightning-sparse slurm-path``: one curve, and the runs at its ends, as SLURM jobs."""

from lightning_sparse.cli.compose import Composed
from lightning_sparse.cli.planning import plan_path
from lightning_sparse.cli.slurm import submit


def run(settings: Composed) -> None:
    """Submit the path that the settings name, and the runs it needs, unless they are finished."""
    submit(settings, [plan_path(settings)])
