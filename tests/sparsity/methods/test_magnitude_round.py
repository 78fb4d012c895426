"""Rounds of iterative pruning: exact counts, against a walk over sorted weights."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.masks import full_masks
from lightning_sparse.sparsity.methods.magnitude_round import MagnitudeRound
from lightning_sparse.sparsity.view import SparseView
from tests.reference.rounds import after_round
from tests.sparsity.simulation import flat, random_weights, same_masks, simulate


def next_masks(weights, masks, **options):
    method = MagnitudeRound(masks=masks, weights=weights, **options)
    return method.initial_masks(SparseView.at_start(random_weights(seed=9)))


def places(masks):
    """Number the kept weights of all layers, one after another."""
    joined = [kept for mask in masks.values() for kept in flat(mask)]
    return {place for place, kept in enumerate(joined) if kept}


def joined(weights):
    return [value for weight in weights.values() for value in flat(weight)]


def test_ten_thousand_weights_fall_to_the_numbers_that_the_rule_gives():
    weights = {"a": torch.randn(100, 100, generator=torch.Generator().manual_seed(0))}
    masks, counts = full_masks(weights), []
    for _ in range(6):
        counts.append(int(masks["a"].sum()))
        method = MagnitudeRound(masks=masks, weights=weights)
        masks = method.initial_masks(SparseView.at_start(weights))
    assert counts == [10_000, 8_000, 6_400, 5_120, 4_096, 3_276]


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_rounds_over_all_layers_are_a_walk_over_all_weights(share):
    masks, kept = full_masks(random_weights()), places(full_masks(random_weights()))
    for number in range(5):
        # Each round has trained to other weights; ties among them.
        weights = {n: (4 * w).round() for n, w in random_weights(seed=number).items()}
        masks = next_masks(weights, masks, share=share)
        kept = after_round(joined(weights), kept, share)
        assert places(masks) == kept


def test_rounds_within_layers_are_a_walk_over_each():
    weights = random_weights()
    first = next_masks(weights, full_masks(weights), within_layers=True)
    second = next_masks(weights, first, within_layers=True)
    for name, weight in weights.items():
        once = after_round(flat(weight), set(range(weight.numel())), 0.2)
        assert places({name: first[name]}) == once
        assert places({name: second[name]}) == after_round(flat(weight), once, 0.2)


def test_masks_stay_as_they_are_and_do_not_look_at_the_start():
    weights = random_weights(seed=3)
    method = MagnitudeRound(masks=full_masks(weights), weights=weights)
    start, *others = simulate(method, 4)
    assert all(change.after is start.after for change in others)
    assert same_masks(start.after, next(simulate(method, 0, seed=5)).after)
    assert method.target_sparsity(2) == pytest.approx(0.2)
    later = MagnitudeRound(masks=start.after, weights=weights)
    assert later.target_sparsity(0) == pytest.approx(0.36, abs=1e-3)


def test_masks_of_another_network_and_percent_are_refused():
    weights = random_weights()
    with pytest.raises(UserError):
        next_masks(weights, {"other": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(UserError, match="share=20: must be a fraction"):
        MagnitudeRound(masks={}, weights={}, share=20)
