"""``lightning-sparse slurm-train``: one end point, or one for each seed, as SLURM jobs."""

from lightning_sparse.cli.compose import Settings, with_values
from lightning_sparse.cli.planning import plan_training
from lightning_sparse.cli.slurm import submit


def run(settings: Settings) -> None:
    """Submit the arm that the settings name, and the runs it needs, unless they are finished."""
    seeds = settings["slurm"]["seeds"] or [settings["seed"]]
    submit(settings, [plan_training(with_values(settings, [f"seed={seed}"])) for seed in seeds])
