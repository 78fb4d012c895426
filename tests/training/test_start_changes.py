"""Starts made of one point's magnitudes and another one's signs, and jumps of a given length."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.masks import full_masks
from lightning_sparse.training.start_changes import Jump, Signs, change_
from tests.training.problems import TwoLayers, make_masks, make_network

MASKS = make_masks()


def changed(change, seed=1, masks=MASKS):
    """The start, the other point, and what is made of both."""
    start, other, made = make_network(0), make_network(1), make_network(0)
    with torch.no_grad():
        other.bn1.weight.fill_(3)
    change_(made, change, other.state_dict(), masks, seed=seed)
    return [network.state_dict() for network in (start, other, made)]


def test_signs_are_the_other_points_and_magnitudes_those_of_the_start():
    start, other, made = changed(Signs())
    for name, mask in MASKS.items():
        assert torch.equal(made[name][mask].signbit(), other[name][mask].signbit())
        assert torch.equal(made[name].abs(), start[name].abs())
        assert torch.equal(made[name][~mask], start[name][~mask])
    assert torch.equal(made["bn1.weight"], start["bn1.weight"])


def test_scale_and_shift_of_norms_come_along_if_asked_and_biases_of_layers_do_not():
    start, other, made = changed(Signs(takes_norms=True))
    assert torch.equal(made["bn1.weight"], other["bn1.weight"])
    assert torch.equal(made["fc.bias"], start["fc.bias"])


@pytest.mark.parametrize("right", [0.0, 0.5, 0.75, 1.0])
def test_each_sign_is_right_with_the_probability_that_is_asked(right):
    masks = full_masks(MASKS)
    shares = []
    for seed in range(1, 21):
        _, other, made = changed(Signs(right=right), seed, masks)
        equal = [(made[n].signbit() == other[n].signbit()).flatten() for n in masks]
        shares.append(torch.cat(equal).double().mean())
    assert float(torch.stack(shares).mean()) == pytest.approx(right, abs=0.03)


def test_shuffled_signs_keep_the_numbers_of_each_layer_and_no_places():
    _, other, made = changed(Signs(shuffled=True))
    counts = [
        [int(weights[name][mask].signbit().sum()) for name, mask in MASKS.items()]
        for weights in (made, other)
    ]
    assert counts[0] == counts[1]
    assert any(
        not torch.equal(made[name][mask].signbit(), other[name][mask].signbit())
        for name, mask in MASKS.items()
    )


def test_a_jump_is_as_long_as_the_way_to_the_other_point_inside_the_masks():
    start, other, made = changed(Jump())

    def length(weights):
        parts = [((weights[n] - start[n]) * mask).flatten() for n, mask in MASKS.items()]
        return float(torch.cat(parts).double().norm())

    assert length(made) == pytest.approx(length(other), rel=1e-6)
    for name, mask in MASKS.items():
        assert torch.equal(made[name][~mask], start[name][~mask])
    again, later = changed(Jump())[2], changed(Jump(), seed=2)[2]
    assert torch.equal(made["conv1.weight"], again["conv1.weight"])
    assert not torch.equal(made["conv1.weight"], later["conv1.weight"])


def test_a_point_of_another_network_is_refused():
    with pytest.raises(UserError, match=r"start_changed_by: has no 'conv1\.weight'"):
        change_(make_network(), Signs(), TwoLayers().state_dict(), MASKS, seed=1)
