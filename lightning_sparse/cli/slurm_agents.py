"""``lightning-sparse slurm-agents``: agents of a registered sweep, as an array of SLURM jobs."""

from rich.console import Console

from lightning_sparse.cli.agent import checked_id
from lightning_sparse.cli.slurm import resources_of, say, submitter
from lightning_sparse.errors import UserError
from lightning_sparse.execution.tracker_choice import require_server
from lightning_sparse.settings.compose import Composed


def run(settings: Composed) -> None:
    """Submit ``sweep.num_agents`` agents; one that is asked to stop is requeued."""
    sweep_id = checked_id(settings)
    resources = resources_of(settings)
    if resources.nodes * resources.tasks_per_node > 1:
        raise UserError(
            f"slurm-agents: {resources.nodes} nodes of {resources.tasks_per_node} devices would be "
            "as many agents; one agent makes runs on one device. Submit runs on several devices "
            "with slurm-multirun (make slurm-sweep)"
        )
    require_server()
    submitted = submitter(settings).submit_array(
        f"agents-{sweep_id.rpartition('/')[2]}",
        [["agent", f"sweep.id={sweep_id}"]] * settings.sweep.num_agents,
        resources,
    )
    say(Console(), submitted, num_finished=0)
