"""``lightning-sparse slurm-line``: one straight line, and the runs at its ends, as SLURM jobs."""

from lightning_sparse.cli import slurm_path
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.variants import with_curve


def run(settings: Composed) -> None:
    """Submit the line that the settings name: a path whose curve is one."""
    slurm_path.run(with_curve(settings, "line"))
