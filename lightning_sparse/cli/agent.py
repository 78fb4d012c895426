"""``lightning-sparse agent``: run the points of a registered sweep, by the agent of W&B."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_sparse.cli.slurm import resources_of, say, submitter
from lightning_sparse.errors import UserError
from lightning_sparse.execution.tracker_choice import require_server
from lightning_sparse.execution.worker import look_at
from lightning_sparse.planning.multirun import plan_points
from lightning_sparse.process.preemption import asked_at_good_moments
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.sweep_file import PROGRAM, Sweep, corner_points, parse_sweep

_LOOK_SECONDS = 0.1


def run(settings: Composed) -> None:
    """Start ``wandb agent``, once it is seen that its runs could begin here."""
    sweep_id = checked_id(settings)
    require_server()
    sweep = _registered(sweep_id)
    # Three failed runs would end the agent.
    look_at(plan_points(sweep, corner_points(sweep), settings))
    # The sweep names its program without a folder: it is the one beside this interpreter.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = Path(sys.executable).with_name("wandb")
    _supervise([str(program), "agent", "--forward-signals", sweep_id], places)


def submit(settings: Composed) -> None:
    """Submit ``sweep.num_agents`` agents, as an array; one that is asked to stop is requeued."""
    sweep_id = checked_id(settings)
    resources = resources_of(settings)
    if resources.nodes * resources.tasks_per_node > 1:
        raise UserError(
            f"agent where=slurm: {resources.nodes} nodes of {resources.tasks_per_node} devices "
            "would be as many agents; one agent makes runs on one device. Submit runs on several "
            "devices with multirun where=slurm (make slurm-sweep)"
        )
    require_server()
    submitted = submitter(settings).submit_array(
        f"agents-{sweep_id.rpartition('/')[2]}",
        [["agent", f"sweep.id={sweep_id}"]] * settings.sweep.num_agents,
        resources,
    )
    say(Console(), submitted, num_finished=0)


def checked_id(settings: Composed) -> str:
    """Return the sweep's id.

    Raises:
        UserError: If it is not whole.
    """
    sweep_id = settings.sweep.id
    if sweep_id is None or sweep_id.count("/") != 2:  # noqa: PLR2004 (three names)
        raise UserError(
            f"sweep.id={sweep_id}: write ENTITY/PROJECT/ID, as `make sweep` has printed it"
        )
    return str(sweep_id)


def _supervise(command: list[str], places: str) -> None:
    """Wait for the agent; asked to stop, end it as soon as its run has ended at a checkpoint.

    By itself it would go on with the next point, or with the same one, until it is killed.

    Raises:
        UserError: If the agent fails.
        Preempted: If this process was asked to stop.
    """
    with asked_at_good_moments() as request:
        agent = subprocess.Popen(command, env={**os.environ, "PATH": places})  # noqa: S603
        try:
            while agent.poll() is None and request.signal_number is None:
                time.sleep(_LOOK_SECONDS)
        finally:
            if agent.poll() is None:
                _stop(agent)
    if request.signal_number is None and agent.returncode:
        raise UserError(f"wandb agent ended with status {agent.returncode}; it says why above")


def _stop(agent: "subprocess.Popen[bytes]") -> None:
    """Ask the agent's run to stop, by way of the agent, and end the agent before its next one."""
    agent.send_signal(signal.SIGUSR1)
    while _has_run(agent.pid):
        time.sleep(_LOOK_SECONDS)
    agent.kill()
    agent.wait()


def _has_run(agent: int) -> bool:
    """Whether the agent has a child that is a command of ours; W&B's own service is another."""
    for children in Path("/proc", str(agent), "task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            words = Path("/proc", child, "cmdline")
            if words.is_file() and PROGRAM.encode() in words.read_bytes():
                return True
    return False


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
