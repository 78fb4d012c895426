"""A detour through all weights: what moves when, and what is left of it."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.masks import full_masks
from lightning_sparse.sparsity.methods.burst import Burst
from lightning_sparse.sparsity.methods.fading_burst import FadingBurst
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.sparsity.methods.regrowth_from import RegrowthFrom
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.view import SparseView
from tests.training.examples import RANDOM, SWAPS
from tests.training.problems import make_masks, make_network, same_bits, train

WEIGHTS = {"a": torch.tensor([3.0, -4.0, 1.0, 2.0])}
MASKS = {"a": torch.tensor([True, False, True, False])}


def view(step):
    return SparseView(step=step, weights=WEIGHTS, masks=full_masks(WEIGHTS))


def test_all_weights_are_free_and_then_those_of_the_mask():
    burst = Burst(masks=MASKS, num_steps=9)
    assert bool(burst.initial_masks(view(0))["a"].all())
    assert [step for step in range(1, 10) if burst.is_due(step)] == [4]
    assert torch.equal(burst.updated_masks(view(4))["a"], MASKS["a"])
    assert [burst.target_sparsity(step) for step in (3, 4)] == [0.0, 0.5]


def test_it_can_return_to_the_largest_weights_as_many_as_the_mask_has():
    burst = Burst(masks=MASKS, num_steps=8, returns_to="largest")
    assert burst.updated_masks(view(4))["a"].tolist() == [True, True, False, False]


def test_what_nothing_else_moves_fades_along_a_straight_line_to_zero():
    burst, weights, seen = FadingBurst(masks=MASKS, num_steps=16), dict(WEIGHTS), []
    for step in range(1, 10):
        here = SparseView(step=step, weights=weights, masks=full_masks(weights))
        weights = dict(burst.moved_weights(here, {}))
        seen.append(weights["a"])
    faded = torch.stack(seen)[:, 1] / -4
    assert faded.tolist() == pytest.approx([1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0])
    assert faded[7] == 0
    assert torch.equal(torch.stack(seen)[:, 0], torch.full((9,), 3.0))


def test_a_burst_inside_the_mask_is_training_inside_it_bit_for_bit(tmp_path):
    """The law that makes `cyclic` the control of `burst`: the free set is the only difference."""
    masks, ends = make_masks(), {}
    for name, method in {
        "burst": Burst(masks=masks, num_steps=12, free=masks),
        "fading": FadingBurst(masks=masks, num_steps=12, free=masks),
        "free": Burst(masks=masks, num_steps=12),
        "control": GivenMask(masks=masks),
    }.items():
        network = make_network()
        train(tmp_path / name, method=method, network=network)
        ends[name] = network.state_dict()
    assert same_bits(ends["burst"], ends["control"])
    assert same_bits(ends["fading"], ends["control"])
    assert not same_bits(ends["free"], ends["control"])


def test_a_moving_mask_begins_as_the_one_that_is_given():
    method = RegrowthFrom(method=RigL(**RANDOM, swaps=SWAPS), masks=MASKS)
    here = view(0)
    assert torch.equal(method.initial_masks(here)["a"], MASKS["a"])
    assert method.observations(here.state) == {"share_ever_kept": 0.5}
    with pytest.raises(UserError, match="name one that does, such as RigL"):
        RegrowthFrom(method=Burst(masks=MASKS, num_steps=8), masks=MASKS)
