"""The small dense twin, against a network that is built that small."""

import copy
import itertools
import math

import pytest
import torch

from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.masks import layer_counts
from lightning_sparse.sparsity.methods.narrow import Narrow
from lightning_sparse.sparsity.methods.scaled_start import ScaledStart
from lightning_sparse.sparsity.view import SparseView

WIDTHS = (6, 8, 12)


def prunable(network):
    return {n: p.detach() for n, p in network.named_parameters() if p.dim() > 1}


def masks_and_state(network, sparsity, distribution=None):
    view = SparseView.at_start(prunable(network))
    method = Narrow(sparsity=sparsity, distribution=distribution or Uniform())
    return method.initial_masks(view), method.observations(view.state)


def num_weights(widths):
    """Count the weights of the network by its definition: three convolutions and a linear layer."""
    pairs = list(itertools.pairwise((1, *widths, 10)))
    return sum(9 * a * b for a, b in pairs[:-1]) + pairs[-1][0] * pairs[-1][1]


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.7, 0.9, 0.98, 0.999])
@pytest.mark.parametrize("widths", [WIDTHS, (12, 12, 24)])
def test_it_keeps_as_many_weights_as_the_best_of_all_multipliers(sparsity, widths):
    masks, observed = masks_and_state(ConvNet(1, 10, widths=widths), sparsity)
    kept = sum(layer.kept for layer in layer_counts(masks).values())
    total, (a, b, c) = num_weights(widths), widths
    layers = [9 * a, 9 * a * b, 9 * b * c, 10 * c]
    wanted = sum(n - int(sparsity * n + 1e-9) for n in layers)
    assert sum(layers) == total
    possible = {
        num_weights([max(1, rounded[width](share / 1000 * width)) for width in widths])
        for share in range(1001)
        for ways in itertools.product((math.floor, math.ceil), repeat=len(set(widths)))
        for rounded in [dict(zip(sorted(set(widths)), ways, strict=True))]
    }
    assert abs(kept - wanted) == min(abs(number - wanted) for number in possible)
    assert observed["mask_bytes"] == 0
    assert 0 <= observed["width_multiplier"] <= 1


def test_of_the_digits_network_at_98_percent_it_keeps_four_weights_more():
    masks, _ = masks_and_state(ConvNet(1, 10), 0.98, ErdosRenyiKernel())
    assert [mask.flatten(1).any(1).sum().item() for mask in masks.values()] == [2, 4, 6, 6, 10]
    assert sum(layer.kept for layer in layer_counts(masks).values()) == 690


def test_inside_its_masks_the_network_is_the_narrow_one():
    torch.manual_seed(0)
    wide = ConvNet(1, 10, widths=WIDTHS)
    masks, _ = masks_and_state(wide, 0.8)
    widths = [int(mask.flatten(1).any(1).sum()) for mask in list(masks.values())[:-1]]
    assert 1 < widths[0] < WIDTHS[0]
    narrow = ConvNet(1, 10, widths=widths)
    masked = copy.deepcopy(wide)
    with torch.no_grad():
        for name, weight in masked.named_parameters():
            if name in masks:
                weight.mul_(masks[name])
        for ours, theirs in zip(
            narrow.state_dict().values(), wide.state_dict().values(), strict=True
        ):
            ours.copy_(theirs[tuple(slice(0, size) for size in ours.shape)])
    images = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(masked(images), narrow(images))
    torch.testing.assert_close(masked.eval()(images), narrow.eval()(images))


def test_a_scaled_start_is_as_large_as_that_of_a_network_of_its_inputs():
    """Of 300 inputs, so that what is compared is a law and not a draw."""
    torch.manual_seed(0)
    weights = {"first": torch.randn(300, 200), "last": torch.randn(50, 300) / 300**0.5}
    method = ScaledStart(method=Narrow(sparsity=0.7, distribution=ErdosRenyiKernel()))
    masks = method.initial_masks(SparseView.at_start(weights))
    scaled = method.start_weights(weights, masks)["last"]
    inputs = int(masks["last"].any(0).sum())
    assert 20 < inputs < 200
    assert scaled[:, :inputs].std().item() == pytest.approx(inputs**-0.5, rel=0.05)
