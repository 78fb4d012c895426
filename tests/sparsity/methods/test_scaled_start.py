"""Start weights of a sparse-aware size, against units counted one by one."""

import math

import pytest
import torch

from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.methods.random_mask import RandomMask
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.methods.scaled_start import ScaledStart
from lightning_sparse.sparsity.regrowth import SwapSchedule
from tests.sparsity.simulation import flat, random_weights, same_masks, simulate

RIGL = RigL(sparsity=0.8, distribution=Uniform(), swaps=SwapSchedule(end_step=20, update_every=4))


@pytest.mark.parametrize("by", ["unit", "layer"])
def test_weights_are_divided_by_the_root_of_their_density(by):
    weights = random_weights()
    masks = next(simulate(RIGL, 0)).after
    masks["fc"][3] = False  # a unit without inputs
    scaled = ScaledStart(method=RIGL, by=by).start_weights(weights, masks)
    for name, weight in weights.items():
        for unit, before in enumerate(weight):
            counted = masks[name][unit] if by == "unit" else masks[name]
            kept = sum(flat(counted))
            root = math.sqrt(kept / counted.numel()) if kept else 1.0
            assert flat(scaled[name][unit]) == pytest.approx([w / root for w in flat(before)])


def test_outputs_of_masked_units_vary_as_those_of_dense_ones_do():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(200, 500, generator=generator)
    inputs = torch.randn(400, 500, generator=generator)
    mask = torch.rand(200, 500, generator=generator) < 0.1
    method = ScaledStart(method=RandomMask(sparsity=0.9, distribution=Uniform()))
    scaled = method.start_weights({"a": weight}, {"a": mask})["a"] * mask
    dense, sparse = ((inputs @ w.T).var().item() for w in (weight, scaled))
    assert sparse == pytest.approx(dense, rel=0.05)


def test_masks_and_their_moments_are_those_of_the_method():
    method = ScaledStart(method=RIGL)
    for ours, theirs in zip(simulate(method, 25), simulate(RIGL, 25), strict=True):
        assert same_masks(ours.after, theirs.after)
    assert method.replaces_update
    for step in range(25):
        costs = [item.step_flops(step, dense=1.0, sparse=0.2) for item in (method, RIGL)]
        assert costs[0] == costs[1]
