"""This project's commands, run as a user does: as processes, with a W&B server of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tracking.stand_in import StandIn

REPOSITORY = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def environment(server: StandIn | None, home: Path) -> dict[str, str]:
    """A client that knows this server, or none, and whose commands are this checkout's."""
    home.mkdir(parents=True, exist_ok=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "SLURM_"))
    }
    own = server.environment(home) if server else {"HOME": str(home)}
    places = {
        "PYTHONPATH": str(REPOSITORY),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "WANDB_DISABLE_GIT": "true",
    }
    return {**inherited, **places, **own}


def run_command(
    *words: str, server: StandIn | None, home: Path, status: int = 0, **variables: str
) -> str:
    """Run a command in ``home``, see that it ends with ``status``, and return what it said."""
    done = subprocess.run(
        words,
        cwd=home,
        env={**environment(server, home), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,  # a busy machine is slow, and what hangs is seen all the same
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def sparse(*words: str) -> list[str]:
    """This project's command line."""
    return [sys.executable, "-m", "lightning_sparse.cli.main", *words]
