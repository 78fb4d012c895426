"""How tests are shared out among processes, asked of pytest itself where it can be."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution import num_processes, unit

REPOSITORY = Path(__file__).parents[1]

_CONFTEST = """\
import os
from tests.conftest import (
    pytest_collection_modifyitems, pytest_terminal_summary, pytest_xdist_make_scheduler,
)
"""
_LOOK = """\
import os
import pathlib

def look(name):
    with pathlib.Path(os.environ["SEEN"]).open("a") as stream:
        stream.write(f"{name} {os.getpid()}\\n")
"""
_QUICK = """\
from looks import look

def test_first(): look("quick")
def test_second(): look("quick")
def test_third(): look("quick")
"""
_LONG = """\
import pytest
from looks import look

@pytest.mark.dist
def test_alone(): look("long")

def test_fails(): look("long"); assert False
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two files of tests beside this project's rules of sharing them out."""
    files = {"conftest": _CONFTEST, "looks": _LOOK, "test_a_quick": _QUICK, "test_b_long": _LONG}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {REPOSITORY} .\nmarkers = dist")
    return tmp_path


def test_a_file_stays_in_one_process_long_ones_begin_first_and_findings_are_noted_once(
    project, monkeypatch
):
    monkeypatch.setenv("SEEN", str(project / "seen"))
    monkeypatch.setenv("RELIABILITY", str(project / "found"))

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("===")
    assert "1 failed, 4 passed" in done.stdout.rstrip().splitlines()[-1]
    seen = [line.split()[0] for line in (project / "seen").read_text().splitlines()]
    assert seen == ["long"] * 2 + ["quick"] * 3
    assert (project / "found").read_text().splitlines() == [
        '{"test": "tests", "number": 5, "not_passed": ["test_b_long.py::test_fails"]}'
    ]


def test_a_test_is_run_with_its_file_and_slurm_has_one_process():
    assert unit("tests/paths/test_run.py::test_x[a::b]") == "tests/paths/test_run.py"
    assert unit("tests/slurm/test_sweep.py::test_x") == unit("tests/slurm/test_preemption.py::test")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["tests", "benchmarks"], 4),
        ([__file__], 0),
        ([f"{__file__}::test_a", f"{__file__}::test_b"], 0),
        ([__file__, "tests/conftest.py"], 2),
        ([__file__, "tests/paths"], 4),
    ],
)
def test_there_are_as_many_processes_as_cores_but_none_that_has_nothing_to_do(
    named, expected, monkeypatch
):
    monkeypatch.chdir(REPOSITORY)
    assert num_processes(named, num_cores=4) == expected


def test_on_one_core_no_process_is_started():
    assert num_processes(["tests"], num_cores=1) == 0
