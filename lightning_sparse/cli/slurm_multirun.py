"""``lightning-sparse slurm-multirun``: the points of a sweep file as SLURM jobs, with no server."""

from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.multirun import plan_points, sweep_name
from lightning_sparse.cli.slurm import submit
from lightning_sparse.cli.sweep_file import points, read_sweep


def run(settings: Settings) -> None:
    """Submit the points that are missing: an array if none needs another, else jobs in order."""
    sweep = read_sweep(sweep_name(settings))
    submit(settings, plan_points(sweep, points(sweep), settings))
