"""A SLURM of two nodes for the tests in this folder, started once and stopped at their end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.sandbox import PROGRAMS, Sandbox


@pytest.fixture(scope="session")
def cluster() -> Iterator[Sandbox]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"no {', '.join(missing)}, and set-up did not install them")
        pytest.skip("no SLURM: sudo apt-get install -y slurmctld slurmd slurm-client munge")
    # A short name; pytest's own folders are too long for the sockets.
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as folder:
        sandbox = Sandbox(Path(folder))
        try:
            sandbox.start()
            yield sandbox
        finally:
            sandbox.stop()
