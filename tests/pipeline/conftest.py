"""Worker processes import the fake jobs by name, and no process outlives its test."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _importable_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def popen() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start a command whose output is read; it is killed when the test is over."""
    with contextlib.ExitStack() as undo:

        def start(
            command: list[str], env: Mapping[str, str], stderr: int = subprocess.PIPE
        ) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env
            )
            undo.callback(process.communicate)
            undo.callback(process.kill)
            return process

        yield start
