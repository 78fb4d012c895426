import json
import os

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import Flops, from_json
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.sparsity.masks import full_masks
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.training.measurement import half_squared_norm, measure
from lightning_sparse.training.run import distance, weights_at_step_file
from tests.training.problems import (
    TwoLayers,
    make_data,
    make_identity,
    make_network,
    make_pruning,
    make_settings,
    same_bits,
    train,
)


def test_a_finished_run_leaves_everything_that_later_stages_need(tmp_path):
    network = make_network()

    record = train(tmp_path, method=make_pruning(), network=network)

    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "SHA256SUMS", "history.jsonl", "masks.safetensors", "record.json", "start.safetensors",
        "weights.safetensors",
    ]  # fmt: skip
    assert same_bits(load_tensors(tmp_path / "weights.safetensors"), network.state_dict())
    assert same_bits(load_tensors(tmp_path / "start.safetensors"), make_network().state_dict())
    assert from_json((tmp_path / "record.json").read_text().strip()) == record


def test_the_weights_load_into_a_plain_network_that_then_measures_as_recorded(tmp_path):
    record = train(tmp_path, method=make_pruning())
    network = make_network(seed=7)
    network.load_state_dict(load_tensors(tmp_path / "weights.safetensors"))
    masks = load_masks(tmp_path / "masks.safetensors")
    weights = [network.conv1.weight, network.conv2.weight, network.fc.weight]

    measured = measure(
        network.eval(),
        make_data().test_batches(),
        penalty=1e-4 * half_squared_norm(weights),
    )

    assert measured == record.test
    assert record.kept == sum(int(weight.count_nonzero()) for weight in weights)
    assert record.kept == sum(int(mask.sum()) for mask in masks.values())
    assert record.layers["conv2.weight"].prunable == 180
    assert record.layers["conv2.weight"].kept == 90


def test_statistics_are_recalibrated_on_the_given_batches_before_anything_is_measured(tmp_path):
    network, data = make_network(), make_data()
    batches = data.recalibration_batches(48, 24)

    moving = train(tmp_path / "moving")
    record = train(tmp_path / "recalibrated", network=network, data=data, recalibration=batches)

    state = load_tensors(tmp_path / "recalibrated" / "weights.safetensors")
    inputs = torch.stack([network.conv1(images) for images, _ in batches])
    torch.testing.assert_close(state["bn1.running_mean"], inputs.mean(dim=(0, 1, 3, 4)))
    assert record.train != moving.train
    assert record.train == measure(
        network, data.train_subset_batches(),
        penalty=record.train.objective - record.train.loss,
    )  # fmt: skip


def test_a_record_says_what_an_image_cost(tmp_path):
    """Positions of the images: 36 for conv1, 9 for conv2 (stride 2), 1 for the linear layer."""
    sizes = {"conv1": 36, "conv2": 180, "fc": 15}
    uses = {"conv1": 36, "conv2": 9, "fc": 1}

    def forward(**kept):
        return 2 * sum(kept[name] * uses[name] for name in kept)

    options = {"trainer_options": {"accumulate_grad_batches": 2}}
    pruned = train(tmp_path / "prune", method=make_pruning(), **options)
    dense = train(tmp_path / "dense")

    assert dense.flops == Flops(
        dense=forward(**sizes), inference=forward(**sizes), training=3 * forward(**sizes)
    )
    assert dense.global_batch_size == 8
    assert pruned.global_batch_size == 16
    kept = {name.removesuffix(".weight"): layer.kept for name, layer in pruned.layers.items()}
    assert pruned.flops.inference == pytest.approx(forward(**kept))
    # Pruned after steps 4, 6 and 7 of 12, to 1 - (3/5)^3, 1 - (1/5)^3 and all of a half.
    shares = [1, 1 - 0.5 * (1 - 0.6**3), 1 - 0.5 * (1 - 0.2**3), 0.5]
    mean = sum(share * steps for share, steps in zip(shares, (4, 2, 1, 5), strict=True)) / 12
    assert pruned.flops.training == pytest.approx(3 * mean * forward(**sizes), rel=0.02)


def test_weights_are_kept_at_the_steps_asked_for(tmp_path):
    network = make_network()

    train(tmp_path, method=make_pruning(), network=network, capture_steps=[0, 4, 12])

    at_0, at_4, at_12 = (load_tensors(tmp_path / weights_at_step_file(step)) for step in (0, 4, 12))
    assert same_bits(at_0, load_tensors(tmp_path / "start.safetensors"))
    assert same_bits(at_12, network.state_dict())
    # Captured after the callback has pruned at this step.
    assert int(at_4["conv2.weight"].count_nonzero()) < 180
    assert not same_bits(at_4, at_0)


def test_weights_of_a_step_are_those_right_after_it_when_gradients_are_accumulated(tmp_path):
    train(tmp_path, capture_steps=[0, 3], trainer_options={"accumulate_grad_batches": 2})

    for step in (0, 3):
        captured = load_tensors(tmp_path / weights_at_step_file(step))
        assert int(captured["bn1.num_batches_tracked"]) == 2 * step


def test_a_run_that_goes_on_from_a_later_step_follows_schedule_and_data_from_there(tmp_path):
    settings = make_settings(momentum=0.0)
    straight = make_network()
    train(tmp_path / "straight", network=straight, settings=settings, capture_steps=[7])

    resumed = make_network(seed=99)
    resumed.load_state_dict(load_tensors(tmp_path / "straight" / weights_at_step_file(7)))
    record = train(
        tmp_path / "resumed",
        network=resumed,
        settings=settings,
        data=make_data(first_batch=7),
        identity=make_identity(rewind_step=7),
        capture_steps=[7, 9],
    )

    assert same_bits(resumed.state_dict(), straight.state_dict())
    assert record.num_steps == 12
    history = [json.loads(line) for line in open_lines(tmp_path / "resumed" / "history.jsonl")]
    assert [entry["step"] for entry in history] == [1, 2, 3, 4, 5]
    assert (tmp_path / "resumed" / weights_at_step_file(9)).is_file()


def open_lines(file):
    return file.read_text(encoding="utf-8").splitlines()


def test_the_same_run_twice_is_the_same_bit_for_bit(tmp_path):
    first, second, other = make_network(), make_network(), make_network()

    train(tmp_path / "1", network=first)
    train(tmp_path / "2", network=second)
    train(tmp_path / "3", network=other, data=make_data(seed=2))

    assert same_bits(first.state_dict(), second.state_dict())
    assert not same_bits(first.state_dict(), other.state_dict())


@pytest.mark.gpu
def test_a_network_that_lies_on_a_gpu_already_is_trained_as_any_other(tmp_path):
    on_cpu, on_gpu = make_network(), make_network().cuda()
    options = {"accelerator": "gpu", "devices": 1}

    train(tmp_path / "1", network=on_cpu, trainer_options=options)
    train(tmp_path / "2", network=on_gpu, trainer_options=options)

    assert same_bits(on_cpu.cpu().state_dict(), on_gpu.cpu().state_dict())


def test_training_fits_the_training_set(tmp_path):
    record = train(tmp_path, settings=make_settings(num_steps=150, learning_rate=0.3))

    assert record.train.loss < 0.5
    assert record.train.accuracy > 0.8
    assert record.train.num_images == 48
    assert record.test.num_images == 21


def test_the_start_inside_a_given_mask_is_written_masked(tmp_path):
    masks = dict(full_masks(prunable_weights(make_network())))
    masks["conv2.weight"] = torch.rand(5, 4, 3, 3) > 0.7

    train(tmp_path, method=GivenMask(masks=masks))

    start = load_tensors(tmp_path / "start.safetensors")
    expected = torch.where(masks["conv2.weight"], make_network().conv2.weight, 0.0)
    assert torch.equal(start["conv2.weight"], expected)
    assert torch.equal(start["conv1.weight"], make_network().conv1.weight)


def test_distance_from_start_is_that_of_the_parameters_alone(tmp_path):
    network = make_network()

    record = train(tmp_path, network=network)

    start = make_network()
    squares = sum(
        float((after.detach() - before.detach()).double().square().sum())
        for after, before in zip(network.parameters(), start.parameters(), strict=True)
    )
    assert record.distance_from_start == pytest.approx(squares**0.5, rel=1e-6)
    assert not torch.equal(network.bn1.running_mean, start.bn1.running_mean)


def test_weights_that_explode_behind_batch_norm_are_named_in_the_record(tmp_path, caplog):
    """The loss stays finite, since batch norm divides by whatever they have become."""
    for name, rate, is_named in [("calm", 0.1, False), ("huge", 1e4, True)]:
        settings = make_settings(num_steps=4, learning_rate=rate, weight_decay=0.0)
        record = train(tmp_path / name, method=make_pruning(), settings=settings)
        remarks = [text for text in record.remarks or () if "training.gradient_clip_norm" in text]
        assert [text.partition(";")[0] for text in remarks] == [
            "more than 100 times as large as at the start: conv1.weight, conv2.weight, fc.weight"
        ] * is_named
    assert caplog.text.count("times as large as at the start") == 1


def test_distance_of_three_and_four_is_five():
    here = {"a": torch.tensor([3.0]), "b": torch.tensor([0.0, 4.0])}
    there = {"a": torch.zeros(1), "b": torch.zeros(2), "c": torch.ones(1)}

    assert distance(here, there) == 5.0


class RaisesLater(TwoLayers):
    """Raises once it has been trained for a few batches, in one of its modes."""

    def __init__(self, mode):
        super().__init__()
        self.mode, self.num_trained = mode, 0

    def forward(self, images):
        self.num_trained += self.training
        if self.num_trained > 4 and self.training is self.mode:
            raise IndexError("no such expert")
        return super().forward(images)


@pytest.mark.parametrize(
    ("training", "when"), [(True, "in training"), (False, "while it is measured")]
)
def test_a_network_that_raises_in_the_middle_is_one_line(tmp_path, training, when):
    with pytest.raises(UserError, match=rf"^model RaisesLater, {when}: IndexError: no such expert"):
        train(tmp_path, network=RaisesLater(training))

    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize("num_steps", [2, 60])
def test_a_loss_that_is_no_number_ends_the_run_and_leaves_no_result(tmp_path, num_steps):
    # A short run diverges only at its end, a long one is stopped on its way.
    settings = make_settings(num_steps=num_steps, learning_rate=1e30)

    with pytest.raises(UserError, match=r"lower training\.learning_rate=1e\+30"):
        train(tmp_path, settings=settings)

    assert not {"record.json", "weights.safetensors", "masks.safetensors"} & {
        file.name for file in tmp_path.iterdir()
    }
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_reported_and_leaves_no_half_written_file(tmp_path, monkeypatch):
    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)

    with pytest.raises(UserError, match=r"cannot write .*start\.safetensors: No space left"):
        train(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capture_steps": [13]}, r"capture_steps=13: must lie in \[0, num_steps=12\]"),
        ({"capture_steps": [-1]}, r"capture_steps=-1: must lie in"),
        (
            {"identity": make_identity(rewind_step=5), "capture_steps": [4]},
            r"capture_steps=4: must lie in \[5, num_steps=12\]",
        ),
        (
            {"identity": make_identity(rewind_step=12)},
            r"rewind_step=12: must lie in \[0, num_steps=12\)",
        ),
        (
            {"trainer_options": {"max_epochs": 1}},
            r"training stopped after 6 of 12 steps; leave out trainer\.\* settings",
        ),
    ],
)
def test_a_run_that_cannot_be_as_recorded_is_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train(tmp_path, **options)

    assert not (tmp_path / "record.json").exists()
