import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lightning_sparse.models.batch_norm import fresh_statistics
from lightning_sparse.paths import curve_point
from lightning_sparse.paths.curves import Bezier, PolygonalChain
from lightning_sparse.paths.path_module import PathModule
from tests.reference.curve_points import plain_point
from tests.training.problems import (
    NUM_CLASSES,
    TinyNet,
    bits,
    make_masks,
    make_network,
    make_settings,
)

IMAGES = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(8) % NUM_CLASSES


class WithOddParameters(TinyNet):
    """One parameter is a number, and two are not used."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.ones(3))
        self.also_unused = nn.Parameter(torch.ones(2, 3))

    def forward(self, images):
        return self.scale * super().forward(images)


def make_module(
    curve,
    *,
    memory_format=torch.contiguous_format,
    weight_decay=0.3,
    network_type=TinyNet,
    is_sparse=False,
):
    start, end = (make_network(seed, network_type=network_type).state_dict() for seed in (1, 2))
    network = make_network(memory_format=memory_format, network_type=network_type)
    module = PathModule(
        network=network, start=start, end=end, curve=curve,
        subspace=make_masks() if is_sparse else None,
        settings=make_settings(weight_decay=weight_decay), seed=1,
    )  # fmt: skip
    with torch.no_grad():
        noise = torch.Generator().manual_seed(4)
        moved = torch.randn(module.control_points.shape, generator=noise)
        module.control_points.add_(moved if module._subspace is None else moved * module._subspace)
    return module


def plain_step(module):
    """What `PathModule.training_step` computes, written with autograd and functional_call alone."""
    vector = plain_point(module, module.draw_t(0))
    network = copy.deepcopy(module._template[0])
    state = {**module.layout.unflatten(vector), **fresh_statistics(network)}
    logits = functional_call(network, state, (IMAGES,))
    loss = torch.nn.functional.cross_entropy(logits, LABELS)
    decayed = vector[: module.layout.num_decayed]
    return loss + 0.5 * module.settings.weight_decay * torch.dot(decayed, decayed)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize(
    "curve", [Bezier(2), Bezier(3), Bezier(4), PolygonalChain(1), PolygonalChain(3)]
)
@pytest.mark.parametrize("elements", [2**17, 50])
@pytest.mark.parametrize("large_in_bytes", [2**22, 1])
@pytest.mark.parametrize(
    "network",
    [
        {"memory_format": memory_format, "network_type": network_type}
        for memory_format in (torch.contiguous_format, torch.channels_last)
        for network_type in (TinyNet, WithOddParameters)
    ],
)
def test_loss_and_gradient_are_those_of_the_plain_twin_bit_for_bit(
    monkeypatch, is_sparse, curve, elements, large_in_bytes, network
):
    monkeypatch.setattr(curve_point, "_ELEMENTS_IN_CACHE", elements)
    monkeypatch.setattr(curve_point, "_LARGE_IN_BYTES", large_in_bytes)
    fast, plain = (make_module(curve, is_sparse=is_sparse, **network) for _ in range(2))

    for _ in range(2):
        losses = fast.training_step((IMAGES, LABELS), 0), plain_step(plain)
        for loss in losses:
            loss.backward()

        if is_sparse:
            plain.control_points.grad.mul_(plain._subspace)

        assert bits(losses[0]) == bits(losses[1])
        assert bits(fast.control_points.grad) == bits(plain.control_points.grad)


def test_the_weights_have_the_shapes_and_formats_of_the_parameters():
    module = make_module(
        Bezier(2), memory_format=torch.channels_last, network_type=WithOddParameters
    )

    weights, _ = module._point(module.control_points, module._basis_of(0))

    parameters = module._template[0].named_parameters()
    expected = {name: (p.shape, p.stride()) for name, p in parameters}
    assert {name: (w.shape, w.stride()) for name, w in weights.items()} == expected


def test_the_comparison_can_tell_gradients_apart():
    one, other = make_module(Bezier(2)), make_module(Bezier(2), weight_decay=0.3000001)

    for module in (one, other):
        module.training_step((IMAGES, LABELS), 0).backward()

    assert bits(one.control_points.grad) != bits(other.control_points.grad)


def test_a_point_whose_memory_was_taken_by_the_next_cannot_be_differentiated():
    module = make_module(Bezier(2))
    first = module.training_step((IMAGES, LABELS), 0)
    module.training_step((IMAGES, LABELS), 0)

    with pytest.raises(RuntimeError, match="has been modified inplace"):
        first.backward()


def test_t_belongs_to_its_step_whichever_step_was_asked_for_first():
    module = make_module(Bezier(3))

    for step in (0, 1, 70, 2, 5000):
        expected = module.basis_at(module.draw_t(step)).tolist()
        assert module._basis_of(step) == expected
