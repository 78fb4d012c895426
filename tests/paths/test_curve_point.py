import copy

import pytest
import torch
from torch.func import functional_call

from lightning_sparse.models.batch_norm import fresh_statistics
from lightning_sparse.paths import curve_point
from lightning_sparse.paths.path_module import PathModule
from tests.training.problems import NUM_CLASSES, bits, make_network, make_settings

IMAGES = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(8) % NUM_CLASSES


def make_module(degree, *, memory_format=torch.contiguous_format, weight_decay=0.3):
    start, end = (make_network(seed).state_dict() for seed in (1, 2))
    module = PathModule(
        network=make_network(memory_format=memory_format), start=start, end=end, degree=degree,
        subspace=None, settings=make_settings(weight_decay=weight_decay), seed=1,
    )  # fmt: skip
    with torch.no_grad():
        noise = torch.Generator().manual_seed(4)
        module.control_points.add_(torch.randn(module.control_points.shape, generator=noise))
    return module


def plain_step(module):
    """What `PathModule.training_step` computes, written with autograd and functional_call alone."""
    vector = module.weights_at(module.draw_t(0))
    network = copy.deepcopy(module._template[0])
    state = {**module.layout.unflatten(vector), **fresh_statistics(network)}
    logits = functional_call(network, state, (IMAGES,))
    loss = torch.nn.functional.cross_entropy(logits, LABELS)
    decayed = module.layout.decayed()
    return loss + 0.5 * module.settings.weight_decay * torch.dot(vector * decayed, vector)


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("elements", [2**17, 50])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_loss_and_gradient_are_those_of_the_plain_twin(
    monkeypatch, degree, elements, memory_format
):
    monkeypatch.setattr(curve_point, "_ELEMENTS_IN_CACHE", elements)
    fast, plain = (make_module(degree, memory_format=memory_format) for _ in range(2))

    for _ in range(2):
        losses = fast.training_step((IMAGES, LABELS), 0), plain_step(plain)
        for loss in losses:
            loss.backward()

        gradients = fast.control_points.grad, plain.control_points.grad
        if degree == 2:
            assert bits(losses[0]) == bits(losses[1])
            assert bits(gradients[0]) == bits(gradients[1])
        else:
            # The twin joins several inner points by a matrix product, and libraries choose by the
            # processor whether to round between product and sum.
            torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
            torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_the_comparison_can_tell_gradients_apart():
    one, other = make_module(2), make_module(2, weight_decay=0.3000001)

    for module in (one, other):
        module.training_step((IMAGES, LABELS), 0).backward()

    assert bits(one.control_points.grad) != bits(other.control_points.grad)


def test_a_point_whose_memory_was_taken_by_the_next_cannot_be_differentiated():
    module = make_module(2)
    first = module.training_step((IMAGES, LABELS), 0)
    module.training_step((IMAGES, LABELS), 0)

    with pytest.raises(RuntimeError, match="has been modified inplace"):
        first.backward()
