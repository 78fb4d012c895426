"""``lightning-sparse slurm-agents``: agents of a registered sweep, as an array of SLURM jobs."""

from rich.console import Console

from lightning_sparse.cli.agent import checked_id
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.slurm import resources_of, say, submitter
from lightning_sparse.cli.tracking import require_server


def run(settings: Settings) -> None:
    """Submit ``sweep.num_agents`` agents; one that is asked to stop is requeued."""
    sweep_id = checked_id(settings)
    require_server()
    submitted = submitter(settings).submit_array(
        f"agents-{sweep_id.rpartition('/')[2]}",
        [["agent", f"sweep.id={sweep_id}"]] * settings["sweep"]["num_agents"],
        resources_of(settings),
    )
    say(Console(), submitted, num_finished=0)
