import math

import pytest
import torch
from torch.nn import functional

from lightning_sparse.training.measurement import (
    Measurement,
    decayed_half_squared_norm,
    decayed_half_squared_norms,
    half_squared_norm,
    measure,
)
from tests.training.problems import make_network
from tests.waits import Waits

LOGITS = torch.randn(23, 4, generator=torch.Generator().manual_seed(3)) * 2
LABELS = torch.arange(23) % 4


def batches(size):
    return list(zip(LOGITS.split(size), LABELS.split(size), strict=True))


def measured(size=23, penalty=0.0):
    return measure(lambda logits: logits, batches(size), penalty=penalty)


def test_a_measurement_is_the_plain_computation():
    losses = functional.cross_entropy(LOGITS.double(), LABELS, reduction="none")

    evaluation = measured(penalty=0.25)

    assert evaluation.loss == pytest.approx(losses.mean().item(), rel=1e-6)
    assert evaluation.loss_standard_error == pytest.approx(
        losses.std(unbiased=True).item() / math.sqrt(23), rel=1e-6
    )
    assert evaluation.objective == evaluation.loss + 0.25
    assert evaluation.accuracy == pytest.approx(
        int((LOGITS.argmax(1) == LABELS).sum()) / 23, rel=1e-6
    )
    assert evaluation.num_images == 23


@pytest.mark.parametrize("size", [1, 7, 22])
def test_the_batch_size_does_not_change_a_measurement(size):
    whole, parts = measured(), measured(size)

    # Another order of summation in double precision: the nearest wrong answer, a mean of the
    # means of unequal batches, is off by some per cent.
    assert parts.loss == pytest.approx(whole.loss, rel=1e-13)
    assert parts.loss_standard_error == pytest.approx(whole.loss_standard_error, rel=1e-10)
    assert parts.accuracy == whole.accuracy
    assert parts.num_images == whole.num_images


def test_accuracy_counts_images_and_not_classes():
    # Nine of class 0, all right, and one of class 1, wrong: the mean over classes is a half.
    labels = torch.tensor([0] * 9 + [1])
    logits = functional.one_hot(torch.zeros(10, dtype=torch.long), 2).float()

    evaluation = measure(lambda images: images, [(logits, labels)], penalty=0.0)

    assert evaluation.accuracy == pytest.approx(0.9)


def test_the_loss_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    evaluation = measure(lambda images: images, [(torch.zeros(5, 4), LABELS[:5])], penalty=0.0)

    assert evaluation.loss == pytest.approx(math.log(4))
    assert evaluation.loss_standard_error == pytest.approx(0.0, abs=1e-8)


def test_measuring_keeps_no_gradients():
    weight = torch.ones((), requires_grad=True)
    seen = []

    def forward(logits):
        seen.append(logits * weight)
        return seen[-1]

    measure(forward, batches(23), penalty=0.0)

    assert not seen[0].requires_grad


def test_one_image_has_no_standard_error():
    evaluation = measure(lambda images: images, batches(1)[:1], penalty=0.0)

    assert evaluation.loss_standard_error == 0.0


def test_half_of_nine_and_sixteen():
    assert half_squared_norm([torch.tensor([3.0]), torch.tensor([[4.0, 0.0]])]) == 12.5


def test_the_norm_takes_convolution_and_linear_weights_alone():
    network = make_network()
    for parameter in network.parameters():
        torch.nn.init.ones_(parameter)

    # 36 and 180 in the convolutions, 15 in the linear layer.
    assert decayed_half_squared_norm(network, dict(network.named_parameters())) == 231 / 2


@pytest.mark.parametrize("size", [1, 7, 23])
def test_a_device_is_waited_for_once_however_many_batches_there_are(size):
    with Waits() as waits:
        evaluation = measured(size)

    assert waits.seen == ["tolist"]
    assert waits.operations == []
    assert evaluation.num_images == 23


def test_norms_of_many_points_are_waited_for_once():
    network = make_network()
    weights = dict(network.named_parameters())
    points = [{name: k * weight for name, weight in weights.items()} for k in range(4)]

    with Waits() as waits:
        norms = decayed_half_squared_norms(network, points)

    assert waits.seen == ["tolist"]
    assert norms == [decayed_half_squared_norm(network, point) for point in points]
    assert norms[0] == 0 < norms[1]


class TwoRanks:
    """A process group in which the other rank counted the same."""

    def __init__(self, monkeypatch):
        distributed = torch.distributed
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(2))
        monkeypatch.setattr(distributed, "is_available", lambda: True)


def test_ranks_add_up_what_they_counted(monkeypatch):
    measurement = Measurement()
    for logits, labels in batches(7):
        measurement.update(logits, labels)
    alone = measurement.result(penalty=0.0)
    TwoRanks(monkeypatch)

    together = measurement.result(penalty=0.0)

    assert together.num_images == 46
    assert together.loss == pytest.approx(alone.loss)
    assert together.accuracy == alone.accuracy
    assert together.loss_standard_error == pytest.approx(
        alone.loss_standard_error * math.sqrt(22 / 45)
    )
