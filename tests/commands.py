"""Small commands for the command line: the smoke experiment in a folder of the test's own.

Nothing of the package is imported here before `tests/conftest.py` has annotations checked.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must fail, and return its one line."""

    from lightning_sparse.cli.main import main

    def run(*words: str) -> str:
        capsys.readouterr()
        status = main(words)
        errors = capsys.readouterr().err
        assert status == 2
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1, errors
        return errors.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dense run, a pruned run, and a pruned run of a narrower network."""
    from lightning_sparse.cli.main import main

    folder = tmp_path_factory.mktemp("runs")
    for words in (
        ("method=dense",),
        ("method=prune",),
        ("method=prune", "model.widths=[4,4,4]"),
    ):
        assert main(["train", "experiment=smoke", f"runs_dir={folder}", *words]) == 0
    return folder


@pytest.fixture(scope="session")
def dense_run(runs_dir: Path) -> Path:
    return next(runs_dir.glob("smoke-dense-*"))


@pytest.fixture(scope="session")
def pruned_run(runs_dir: Path) -> Path:
    return next(run for run in runs_dir.glob("smoke-prune-*") if not _is_narrow(run))


@pytest.fixture(scope="session")
def narrow_run(runs_dir: Path) -> Path:
    return next(run for run in runs_dir.glob("smoke-prune-*") if _is_narrow(run))


def _is_narrow(run: Path) -> bool:
    return '"widths": [4, 4, 4]' in (run / "record.json").read_text()
