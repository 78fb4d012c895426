import os

import pytest

from lightning_sparse.cli.compose import compose_settings
from lightning_sparse.cli.session import num_cores, num_processes


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
