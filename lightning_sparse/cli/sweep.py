"""``lightning-sparse sweep``: check a sweep file and register it with W&B. No torch in here."""

from typing import Any

from rich.console import Console

from lightning_sparse.errors import UserError
from lightning_sparse.execution.tracker_choice import require_server
from lightning_sparse.execution.worker import look_at
from lightning_sparse.planning.multirun import passed_on, plan_points, sweep_name
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.sweep_file import corner_points, points, read_sweep


def run(settings: Composed) -> None:
    """Register the sweep and print its id; every point of a grid has been planned before."""
    sweep = read_sweep(sweep_name(settings))
    jobs = plan_points(
        sweep, points(sweep) if sweep.method == "grid" else corner_points(sweep), settings
    )
    require_server()
    look_at(jobs, is_here=False)
    sweep_id = _registered(sweep.with_overrides(passed_on(settings)))
    console = Console()
    number = f"{len(jobs)} different runs" if sweep.method == "grid" else sweep.method
    text = (
        f"{sweep.name} ({number}) is registered; start agents with\nmake agent SWEEP_ID={sweep_id}"
    )
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _registered(body: dict[str, Any]) -> str:
    import wandb

    try:
        sweep_id = wandb.sweep(body, entity=body.get("entity"), project=body.get("project"))
    except (wandb.Error, ValueError, OSError) as error:
        raise UserError(f"W&B did not take the sweep: {error}") from error
    # What W&B returns leaves out whose it is, and agents elsewhere may have another default.
    entity = body.get("entity") or wandb.Api().default_entity
    return f"{entity}/{body.get('project', 'uncategorized')}/{sweep_id}"
