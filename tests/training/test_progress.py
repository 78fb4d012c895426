import itertools
import json
import time

import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.progress import ProgressCallback, TailMean
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.training.problems import make_data, make_network, make_settings


class Scripted(ClassifierModule):
    """Its loss at the n-th batch, from 1, is n."""

    def __init__(self):
        super().__init__(make_network(), make_settings())
        self.num_batches = 0

    def training_step(self, batch, batch_index):
        self.num_batches += 1
        return super().training_step(batch, batch_index) * 0 + self.num_batches


def run(*callbacks, module=None, num_steps=12, **options):
    trainer = quiet_trainer(num_steps, callbacks, {"accelerator": "cpu", "devices": 1, **options})
    fit(trainer, module or Scripted(), make_data(), num_steps)


def test_every_period_and_the_last_step_are_reported():
    reported = []
    progress = ProgressCallback(
        every_steps=5, report=lambda *steps: reported.append(steps), advice=""
    )

    run(progress)

    assert reported == [(5, 12), (10, 12), (12, 12)]
    assert [(entry["step"], entry["batch_loss"]) for entry in progress.history] == [
        (5, 5.0), (10, 10.0), (12, 12.0),
    ]  # fmt: skip


def test_accumulated_batches_are_one_step_with_the_loss_of_its_last_batch():
    progress = ProgressCallback(every_steps=1, report=None, advice="")

    run(progress, num_steps=3, accumulate_grad_batches=2)

    assert [(entry["step"], entry["batch_loss"]) for entry in progress.history] == [
        (1, 2.0), (2, 4.0), (3, 6.0),
    ]  # fmt: skip


def test_history_is_one_json_object_per_line():
    progress = ProgressCallback(every_steps=6, report=None, advice="")

    run(progress)

    lines = progress.history_lines().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [6, 12]
    assert set(json.loads(lines[0])) == {
        "step", "batch_loss", "learning_rate", "images_per_second", "peak_memory_gib",
    }  # fmt: skip


def test_each_line_is_sent_as_it_comes_with_what_was_observed_of_its_batch():
    sent = []
    progress = ProgressCallback(
        every_steps=6,
        report=None,
        advice="",
        observe=lambda batch: {"images": len(batch[1])},
        send=lambda entry: sent.append((len(progress.history), entry)),
    )

    run(progress)

    assert [(count, entry["step"], entry["images"]) for count, entry in sent] == [
        (1, 6, 8), (2, 12, 8),
    ]  # fmt: skip
    assert [entry for _, entry in sent] == progress.history


def test_the_rate_counts_every_image_since_the_last_look(monkeypatch):
    clock = itertools.count(100.0, 2.0)  # two seconds from one look to the next
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = ProgressCallback(every_steps=4, report=None, advice="")
    progress._num_images, progress._looked_at = 0, time.perf_counter()
    for images in (8, 8, 3):
        progress._num_images += images

    assert progress._images_per_second(num_ranks=3) == 3 * 19 / 2
    assert progress._images_per_second(num_ranks=3) == 0


def test_history_survives_a_checkpoint():
    progress = ProgressCallback(every_steps=6, report=None, advice="")
    run(progress)
    other = ProgressCallback(every_steps=6, report=None, advice="")

    other.load_state_dict(progress.state_dict())

    assert other.history_lines() == progress.history_lines()


def test_a_loss_that_is_no_number_stops_the_run_with_advice():
    module = ClassifierModule(make_network(), make_settings())
    nn.init.constant_(module.network.fc.bias, torch.nan)
    progress = ProgressCallback(every_steps=4, report=None, advice="lower learning_rate=3")

    with pytest.raises(UserError, match="training loss is nan at step 4 of 12; lower learning_rat"):
        run(progress, module=module)


def test_the_tail_mean_leaves_out_the_first_steps():
    tail = TailMean(first_step=8)

    run(tail)

    # Of 9, 10, 11 and 12.
    assert tail.mean == 10.5


def test_the_tail_mean_is_one_of_losses_also_when_gradients_are_accumulated():
    tail = TailMean(first_step=0)

    run(tail, num_steps=2, accumulate_grad_batches=3)

    # Batches 3 to 6; the first two belong to no finished step.
    assert tail.mean == 4.5
