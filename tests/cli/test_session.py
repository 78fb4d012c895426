import os

import pytest

from lightning_sparse.cli.compose import compose_settings
from lightning_sparse.cli.session import first_rank_console, num_cores, num_processes


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)],
)
def test_a_container_has_as_many_cores_as_its_quota_gives(quota, expected, tmp_path):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert num_cores(tmp_path / "cpu.max") == expected


def test_without_a_quota_the_cores_are_those_of_this_process(tmp_path):
    assert num_cores(tmp_path / "none") == 4


def test_the_number_of_processes_can_be_set():
    assert num_processes(compose_settings(["reproduce.num_processes=3"])) == 3
    assert num_processes(compose_settings([])) == num_cores()


@pytest.mark.parametrize(
    ("variables", "is_quiet"),
    [
        ({}, False),
        ({"SLURM_PROCID": "0"}, False),
        ({"SLURM_PROCID": "3"}, True),
        ({"LOCAL_RANK": "1"}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, False),
        ({"RANK": "8", "LOCAL_RANK": "0"}, True),
    ],
)
def test_only_the_first_rank_prints_results(variables, is_quiet, monkeypatch, capsys):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    first_rank_console().print("result")

    assert ("result" not in capsys.readouterr().out) == is_quiet
