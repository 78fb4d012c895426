"""DSR against a walk over every place, at every step."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.masks import kept_and_prunable
from lightning_sparse.sparsity.methods.dsr import DSR
from lightning_sparse.sparsity.regrowth import SwapSchedule
from lightning_sparse.sparsity.view import SparseView
from tests.reference.swaps import (
    below,
    dropped_and_grown,
    handed_out,
    next_threshold,
    rigl_number,
)
from tests.sparsity.simulation import flat, simulate

SWAPS = SwapSchedule(
    start_step=3, end_step=40, update_every=4, drop_fraction=0.1, final_drop_fraction=0.1
)


def dsr(**changes):
    given = {"sparsity": 0.7, "distribution": ErdosRenyiKernel(), "swaps": SWAPS, **changes}
    return DSR(**given)


@pytest.mark.parametrize("first", [0.01, 2.0])
@pytest.mark.parametrize("sparsity", [0.7, 0.05])
def test_a_threshold_that_adapts_removes_and_layers_grow_by_what_they_have_left(first, sparsity):
    """At a sparsity of 0.05 there is little room, and limits are met."""
    threshold, thresholds, counts = first, set(), set()
    for change in simulate(dsr(threshold=first, sparsity=sparsity), 50, seed=4):
        counts.add(kept_and_prunable(change.after)[0])
        if change.step not in range(3, 41, 4):
            assert not change.step or change.after is change.before
            continue
        before = {name: flat(mask) for name, mask in change.before.items()}
        weights = {name: flat(weight) for name, weight in change.weights.items()}
        removed = {n: below(weights[n], mask, threshold) for n, mask in before.items()}
        left = {n: sum(mask) - removed[n] for n, mask in before.items()}
        room = [len(mask) - left[n] for n, mask in before.items()]
        grown = handed_out(sum(removed.values()), list(left.values()), room)
        generator = SparseView(step=change.step, weights={}, masks={}, seed=4).generator
        for (name, mask), number in zip(change.after.items(), grown, strict=True):
            draws = flat(torch.rand(mask.shape, generator=generator))
            expected = dropped_and_grown(
                weights[name], before[name], draws, removed[name], num_grown=number
            )
            assert flat(mask) == expected, (change.step, name)
        aim = rigl_number(sum(map(sum, before.values())), fraction=0.1, step=0, begin=0, end=1)
        threshold = next_threshold(threshold, sum(removed.values()), aim, 0.1)
        assert change.state["threshold"] == threshold
        thresholds.add(threshold)
    assert len(counts) == 1
    assert len(thresholds) > 2


@pytest.mark.parametrize(
    ("number", "follows"), [(89, 2.0), (90, 1.0), (100, 1.0), (110, 1.0), (111, 0.5)]
)
def test_the_threshold_stays_within_a_tenth_of_what_is_aimed_at(number, follows):
    """Of a thousand kept weights a hundred are aimed at."""
    weights = {"a": torch.where(torch.arange(2000) < number, 0.5, 1.5)}
    masks = {"a": torch.arange(2000) < 1000}
    view = SparseView(step=7, weights=weights, masks=masks, state={})
    after = dsr(distribution=Uniform(), threshold=1.0).updated_masks(view)
    assert view.state["threshold"] == follows
    assert not after["a"][:number].all()
    assert after["a"][number:1000].all()
    assert int(after["a"].sum()) == 1000


def test_a_layer_with_three_times_as_much_left_grows_three_times_as_much():
    weights = {"a": torch.full((100,), 2.0), "b": torch.full((100,), 2.0)}
    weights["b"][:20] = 0.1
    masks = {"a": torch.arange(100) < 60, "b": torch.arange(100) < 40}
    view = SparseView(step=7, weights=weights, masks=masks, state={})
    after = dsr(distribution=Uniform(), threshold=1.0).updated_masks(view)
    assert {name: int(mask.sum()) for name, mask in after.items()} == {"a": 75, "b": 25}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.0}, r"^threshold=0.0: must be a number above 0"),
        ({"threshold": float("nan")}, r"^threshold=nan: must be a number above 0"),
        ({"tolerance": 1.0}, r"^tolerance=1.0: must be a fraction"),
    ],
)
def test_what_cannot_be_done_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        dsr(**changes)
