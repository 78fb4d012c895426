"""``lightning-sparse slurm-train``: one end point, or one for each seed, as SLURM jobs."""

from lightning_sparse.cli.slurm import submit
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.variants import replaced


def run(settings: Composed) -> None:
    """Submit the arm that the settings name, and the runs it needs, unless they are finished."""
    seeds = settings.slurm.seeds or [settings.seed]
    submit(settings, [plan_training(replaced(settings, {"seed": seed})) for seed in seeds])
