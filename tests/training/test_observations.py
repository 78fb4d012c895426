import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.paths.curves import Bezier
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.observations import EndPointObserver, peak_memory_gib
from lightning_sparse.training.progress import History, ProgressCallback
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.reference.curve_points import plain_point
from tests.training.problems import (
    make_data,
    make_network,
    make_pruning,
    make_settings,
    train,
)


class Witness(pl.Callback):
    """Keeps copies of what was on the device after each step."""

    def __init__(self):
        self.labels, self.logits, self.gradients, self.weights = [], [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.labels.append(batch[1].clone())
        prunable = prunable_weights(pl_module.network)
        self.gradients.append({name: w.grad.clone() for name, w in prunable.items()})
        self.weights.append({name: w.detach().clone() for name, w in prunable.items()})


class RecordingNet(torch.nn.Module):
    """Remembers what it answered."""

    def __init__(self):
        super().__init__()
        self.inner = make_network()
        self.logits = []

    def forward(self, images):
        self.logits.append(self.inner(images))
        return self.logits[-1]


@pytest.fixture
def observed():
    """Twelve steps under gradual pruning with label smoothing: history, witness and callback."""
    settings = make_settings(label_smoothing=0.2, weight_decay=0.01)
    module = ClassifierModule(RecordingNet(), settings)
    sparsity, witness = SparsityCallback(make_pruning(), network="network"), Witness()
    progress = ProgressCallback(
        every_steps=4, report=None, advice="", observe=EndPointObserver(module, sparsity)
    )
    callbacks = [sparsity, progress, witness]
    trainer = quiet_trainer(12, callbacks, {"accelerator": "cpu", "devices": 1})
    fit(trainer, module, make_data(), 12)
    return progress.history, witness, module, sparsity


def test_a_line_has_the_cross_entropy_without_smoothing_and_the_accuracy_of_its_batch(observed):
    history, witness, module, _ = observed
    for entry in history:
        place = entry["step"] - 1
        logits, labels = module.network.logits[place], witness.labels[place]
        expected = functional.cross_entropy(logits, labels).item()
        smoothed = functional.cross_entropy(logits, labels, label_smoothing=0.2).item()
        assert entry["batch_cross_entropy"] == pytest.approx(expected, rel=1e-6)
        assert entry["batch_loss"] == pytest.approx(smoothed, rel=1e-6)
        right = sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels))  # noqa: B905
        assert entry["batch_accuracy"] == right / 8


def test_the_objective_adds_the_penalty_of_the_weights_after_the_step(observed):
    history, witness, _, _ = observed
    for entry in history:
        weights = witness.weights[entry["step"] - 1].values()
        penalty = 0.5 * 0.01 * sum(w.double().square().sum().item() for w in weights)
        added = entry["batch_objective"] - entry["batch_cross_entropy"]
        assert added == pytest.approx(penalty, rel=1e-6)


def test_the_gradient_norm_is_that_of_the_kept_weights(observed):
    history, witness, _, sparsity = observed
    for entry in history:
        gradients = witness.gradients[entry["step"] - 1].values()
        expected = sum(g.double().square().sum().item() for g in gradients) ** 0.5
        assert entry["gradient_norm"] == pytest.approx(expected, rel=1e-6)
        assert expected > 0
    last = witness.gradients[-1]
    assert all((last[name][~mask] == 0).all() for name, mask in sparsity.masks.items())


def test_target_and_measured_sparsity_follow_the_schedule_overall_and_per_layer(observed):
    history, _, _, sparsity = observed
    targets = [round(entry["target_sparsity"], 3) for entry in history]
    assert targets == [0.392, 0.5, 0.5]
    for entry in history[1:]:
        assert entry["layer_sparsity"] == {
            name: 1 - int(mask.sum()) / mask.numel() for name, mask in sparsity.masks.items()
        }
        kept = sum(int(mask.sum()) for mask in sparsity.masks.values())
        size = sum(mask.numel() for mask in sparsity.masks.values())
        assert entry["measured_sparsity"] == 1 - kept / size
    assert history[0]["measured_sparsity"] < history[1]["measured_sparsity"]


def test_a_run_asks_for_as_many_lines_as_it_is_told_and_sends_them(tmp_path):
    sent = []
    train(tmp_path, history=History(every_steps=5, send=sent.append))
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == sent
    assert [entry["step"] for entry in sent] == [5, 10, 12]


def test_a_curve_is_observed_at_the_point_where_its_batch_was(monkeypatch):
    states = [dict(make_network(seed).state_dict()) for seed in (1, 2)]
    module = PathModule(
        network=make_network(), start=states[0], end=states[1], curve=Bezier(2), subspace=None,
        settings=make_settings(weight_decay=0.01), seed=1,
    )  # fmt: skip
    monkeypatch.setattr(module, "draw_t", lambda _: 0.25)
    before = plain_point(module, 0.25).detach().double()
    decayed = before[: module.layout.num_decayed]
    progress = ProgressCallback(every_steps=1, report=None, advice="", observe=module.observe)
    trainer = quiet_trainer(1, [progress], {"accelerator": "cpu", "devices": 1})

    fit(trainer, module, make_data(), 1)

    (entry,) = progress.history
    penalty = 0.5 * 0.01 * float(decayed @ decayed)
    assert entry["batch_objective"] == pytest.approx(entry["batch_loss"], rel=1e-5)
    assert entry["batch_loss"] - entry["batch_cross_entropy"] == pytest.approx(penalty, rel=1e-3)
    expected = module.control_points.grad.double().norm().item()
    assert entry["gradient_norm"] == pytest.approx(expected, rel=1e-6)


def test_the_memory_of_a_process_is_the_most_it_has_had_in_gib():
    status = Path("/proc/self/status").read_text()
    kib = int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M).group(1))
    assert peak_memory_gib(torch.device("cpu")) == pytest.approx(kib / 2**20, rel=0.01)


def test_the_memory_of_the_process_that_started_another_does_not_count():
    held = np.ones(2**28)  # 2 GiB
    code = (
        "import torch; from lightning_sparse.training.observations import peak_memory_gib;"
        "print(peak_memory_gib(torch.device('cpu')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held[-1] == 1
    assert 0.1 < float(done.stdout) < 1.9
