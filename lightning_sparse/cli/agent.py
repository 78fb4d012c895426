"""``lightning-sparse agent``: run the points of a registered sweep, by the agent of W&B."""

import os
import sys
from pathlib import Path
from typing import Any

from lightning_sparse.cli.compose import Settings, compose_settings
from lightning_sparse.cli.sweep_file import Sweep, corner_points, parse_sweep
from lightning_sparse.cli.tracking import require_server
from lightning_sparse.errors import UserError


def run(settings: Settings) -> None:
    """Become ``wandb agent``, once it is seen that its runs could begin here."""
    sweep_id = settings["sweep"]["id"]
    if sweep_id is None or sweep_id.count("/") != 2:  # noqa: PLR2004 (three names)
        raise UserError(
            f"sweep.id={sweep_id}: write ENTITY/PROJECT/ID, as `make sweep` has printed it"
        )
    require_server()
    _require_data(_registered(sweep_id))
    # The sweep names its program without a folder: it is the one beside this interpreter.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    words = ["wandb", "agent"]
    # SLURM's request to stop must reach the run, which then saves what it has.
    words += ["--forward-signals"] if "SLURM_JOB_ID" in os.environ else []
    os.execvpe("wandb", [*words, sweep_id], {**os.environ, "PATH": places})  # noqa: S606, S607


def _registered(sweep_id: str) -> Sweep:
    import wandb

    try:
        api: Any = wandb.Api()
        body = api.sweep(sweep_id).config
    except (wandb.Error, ValueError, OSError) as error:
        raise UserError(
            f"sweep.id={sweep_id}: W&B has no such sweep ({' '.join(str(error).split())}); "
            "`make sweep` registers one"
        ) from error
    return parse_sweep(body, Path(sweep_id))


def _require_data(sweep: Sweep) -> None:
    """See that the data are on this machine: three failed runs would end the agent."""
    from lightning_sparse.cli.build import build_data  # torch: 8 seconds

    for point in corner_points(sweep):
        build_data(compose_settings([*sweep.overrides, *point]))
