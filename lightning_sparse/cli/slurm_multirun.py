"""``lightning-sparse slurm-multirun``: points of a file, or typed, as SLURM jobs. No torch."""

from collections.abc import Sequence

from lightning_sparse.cli.slurm import submit
from lightning_sparse.planning.multirun import chosen_points, plan_points
from lightning_sparse.settings.compose import Composed


def run(settings: Composed, swept: Sequence[str] = ()) -> None:
    """Submit the points that are missing: those that need nothing as an array, then the others."""
    sweep, chosen = chosen_points(settings, swept)
    submit(settings, plan_points(sweep, chosen, settings))
