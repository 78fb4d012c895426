"""Two equal runs, and one that was stopped and goes on, end in the same bits: on every device."""

import os

import pytest
import torch

from lightning_sparse.cli.main import main
from lightning_sparse.execution.execute import execute
from lightning_sparse.pipeline.jobs import with_needs
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.process.preemption import Preempted
from lightning_sparse.settings.compose import compose_settings
from tests.cli.small import in_small
from tests.faults.interrupted import signal_at

# A GPU that is left to itself differs within a hundred steps of the digits network.
DEVICES = [
    pytest.param("cpu", 4, ("once", "stopped"), id="cpu"),
    pytest.param("gpu", 200, ("once", "again", "stopped"), id="gpu", marks=pytest.mark.gpu),
]


def settings_of(runs_dir, device, num_steps, *words):
    return compose_settings(
        [
            "experiment=smoke",
            f"runs_dir={runs_dir}",
            f"trainer.accelerator={device}",
            f"training.num_steps={num_steps}",
            f"path.training.num_steps={num_steps}",
            f"pruning.end_step={num_steps}",
            "evaluation.max_refinements=0",
            *words,
        ]
    )


def contents(run_dir):
    return {file.name: file.read_bytes() for file in sorted(run_dir.glob("*.safetensors"))}


@pytest.mark.parametrize(("device", "num_steps", "folders"), DEVICES)
def test_runs_and_curves_have_equal_bits_whether_stopped_or_not(
    device, num_steps, folders, tmp_path
):
    made = {}
    for folder in folders:
        settings = settings_of(tmp_path / folder, device, num_steps)
        for job in with_needs([plan_path(settings)]):
            if folder == "stopped":
                with pytest.raises(Preempted):
                    execute(job, signal_at(num_steps // 2, "SIGTERM"))
            execute(job)
            made.setdefault(job.run_id, []).append(contents(job.run_dir))

    assert len(made) == 3
    assert all(first == other for first, *others in made.values() for other in others)


@pytest.mark.gpu
def test_masks_and_records_of_a_gpu_say_that_it_was_deterministic(tmp_path):
    job = plan_training(in_small("smoke", tmp_path, "trainer.accelerator=gpu", "method=prune"))

    record = execute(job)

    assert record.provenance["deterministic"] is True
    assert record.config["deterministic"] is None
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(("words", "is_on"), [((), False), (("deterministic=true",), True)])
def test_the_switch_is_thrown_before_a_run_and_recorded(words, is_on, tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    job = plan_training(in_small("smoke", tmp_path, "method=dense", *words))

    record = execute(job)

    assert record.provenance["deterministic"] is is_on
    assert record.config["deterministic"] is (True if is_on else None)
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if is_on else None)
    assert torch.are_deterministic_algorithms_enabled() is is_on


UNREPEATABLE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.head = nn.Linear(in_channels * 64, num_classes)

    def forward(self, images):
        flat = images.flatten(1)
        if self.training:
            flat = flat.clone().put_(torch.zeros(1, dtype=torch.long), torch.ones(1))
        return self.head(flat)
"""


@pytest.mark.parametrize(("words", "is_refused"), [((), False), (("deterministic=true",), True)])
def test_an_operation_that_is_another_each_time_is_refused_by_name(
    words, is_refused, tmp_path, monkeypatch, capsys
):
    (tmp_path / "unrepeatable.py").write_text(UNREPEATABLE)
    monkeypatch.syspath_prepend(tmp_path)
    network = ["model._target_=unrepeatable.Net"]
    overrides = in_small("smoke", tmp_path, "method=dense", *words).source.words
    mine = [word for word in overrides if "model." not in word]

    status = main(["train", *mine, *network])

    assert (status == 2) == is_refused
    if is_refused:
        assert (
            "put_ does not have a deterministic implementation; choose" in capsys.readouterr().err
        )
