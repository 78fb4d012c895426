import os

import pytest
from rich.console import Console

from lightning_sparse.cli import methods, multirun, pilot
from lightning_sparse.errors import UserError
from lightning_sparse.execution import session
from lightning_sparse.execution.session import (
    first_rank_console,
    num_cores,
    places,
)
from lightning_sparse.pipeline.places import Anywhere, parse_gpus
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.variants import one_device_each


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
    assert places(compose_settings(["reproduce.num_processes=3"]), Console()) == Anywhere(3)
    assert places(compose_settings(["sweep.num_processes=2"]), Console(), "sweep") == Anywhere(2)
    assert places(compose_settings([]), Console()) == Anywhere(num_cores())


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


GPUS = parse_gpus("GPU-a, 80000, 79000\nGPU-b, 80000, 79000")
ON_TWO_GPUS = ["experiment=smoke", "trainer.accelerator=gpu", "trainer.devices=2"]


@pytest.mark.parametrize(
    ("overrides", "devices"),
    [
        (ON_TWO_GPUS, 1),
        ([*ON_TWO_GPUS[:2], "trainer.devices=[0,1]"], 1),
        ([*ON_TWO_GPUS, "global_batch_size=128"], 2),  # a recipe that counts on both
        ([*ON_TWO_GPUS, "++trainer.num_nodes=2"], 2),
        (["experiment=smoke", "trainer.devices=2"], 2),  # of the CPU's
    ],
)
def test_small_runs_have_one_gpu_each(overrides, devices):
    settings = one_device_each(compose_settings(overrides))
    assert settings.trainer["devices"] == devices


def test_a_run_on_one_of_two_gpus_is_the_run_on_the_only_one():
    alone, one_of_two = (
        plan_training(one_device_each(compose_settings([*ON_TWO_GPUS[:2], *overrides])))
        for overrides in ([], ["trainer.devices=2"])
    )
    assert alone.run_id == one_of_two.run_id


def test_runs_go_to_gpus_only_if_they_train_there_and_there_are_any(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(session, "read_gpus", lambda: GPUS)
    on_gpus = places(compose_settings(ON_TWO_GPUS), Console())
    assert dict(on_gpus.next_free([]).variables) == {"CUDA_VISIBLE_DEVICES": "GPU-a"}
    assert places(compose_settings(["experiment=smoke"]), Console()) == Anywhere(num_cores())

    monkeypatch.setattr(session, "read_gpus", dict)
    assert places(compose_settings(ON_TWO_GPUS), Console()) == Anywhere(num_cores())


@pytest.mark.parametrize(
    ("verb", "overrides"),
    [
        (pilot, []),
        (multirun, ["sweep.file=gap"]),
        (methods, ["methods.arms=[dense]", "reproduce.seeds=[31]"]),
    ],
    ids=["pilot", "multirun", "methods"],
)
def test_trials_points_and_methods_share_the_gpus_too(verb, overrides, monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(session, "read_gpus", lambda: GPUS)
    taken = []

    def note(jobs, _, *, places, console, first):
        del console, first
        taken.append(places)
        assert all(job.settings.trainer["devices"] == 1 for job in jobs)
        raise UserError("enough")

    monkeypatch.setattr(session, "run_jobs", note)
    with pytest.raises(UserError, match="enough"):
        verb.run(compose_settings([*ON_TWO_GPUS, f"runs_dir={tmp_path}", *overrides]))
    first = taken[0].next_free([])
    assert dict(first.variables) == {"CUDA_VISIBLE_DEVICES": "GPU-a"}
    assert dict(taken[0].next_free([first]).variables) == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
