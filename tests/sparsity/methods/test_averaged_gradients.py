"""SNFS and sparse momentum against walks over every place, at every step."""

import pytest
import torch

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.growth import AveragedGradient
from lightning_sparse.sparsity.masks import kept_and_prunable
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.methods.snfs import SNFS
from lightning_sparse.sparsity.methods.sparse_momentum import SparseMomentum
from lightning_sparse.sparsity.regrowth import SwapSchedule
from lightning_sparse.sparsity.schedules import cosine_decay
from lightning_sparse.sparsity.view import SparseView
from tests.reference.swaps import (
    averaged,
    dropped_and_grown,
    handed_out,
    importance,
    momentum_removed,
    rigl_number,
)
from tests.sparsity.simulation import SHAPES, flat, simulate

SWAPS = SwapSchedule(start_step=3, end_step=31, update_every=5)
UPDATES = range(3, 29, 5)
SHARE = {"initial": 0.5, "final": 0.005}
HALF = SwapSchedule(
    end_step=30, update_every=5, drop_fraction=0.5, final_drop_fraction=0.005, rounding="up"
)


def snfs(**changes):
    return SNFS(**{"sparsity": 0.8, "distribution": ErdosRenyiKernel(), "swaps": SWAPS, **changes})


def momentum(**changes):
    given = {"sparsity": 0.8, "distribution": Uniform(), "swaps": HALF, **changes}
    return SparseMomentum(**given)


def averages_of(seen):
    return {name: averaged([flat(gradients[name]) for gradients in seen]) for name in SHAPES}


def test_snfs_grows_where_the_average_of_all_gradients_is_largest():
    seen, num_moved = [], 0
    for change in simulate(snfs(), 45):
        seen += [change.gradients] if change.step else []
        if change.step not in UPDATES:
            assert not change.step or change.after is change.before
            continue
        averages = averages_of(seen)
        for name, mask in change.after.items():
            before = flat(change.before[name])
            number = rigl_number(sum(before), fraction=0.3, step=change.step, begin=3, end=31)
            growth = [abs(value) for value in averages[name]]
            expected = dropped_and_grown(flat(change.weights[name]), before, growth, number)
            assert flat(mask) == expected, (change.step, name)
            num_moved += expected != before
    assert num_moved >= 10


@pytest.mark.parametrize("sparsity", [0.8, 0.1])
def test_sparse_momentum_moves_weights_to_layers_of_large_averages(sparsity):
    """At a sparsity of 0.1 layers are nearly dense, and limits are met."""
    seen, counts = [], set()
    for change in simulate(momentum(sparsity=sparsity), 45):
        seen += [change.gradients] if change.step else []
        counts.add(kept_and_prunable(change.after)[0])
        if change.step == 0 or change.step > 30 or change.step % 5:
            continue
        averages = averages_of(seen)
        before = {name: flat(mask) for name, mask in change.before.items()}
        parts = importance(averages, before)
        rate = cosine_decay(change.step, num_steps=30, **SHARE)
        removed = {
            n: momentum_removed(sum(b), len(b), parts[n], 3, rate) for n, b in before.items()
        }
        empty = [len(b) - sum(b) + removed[n] for n, b in before.items()]
        limits = [99 * places // 100 for places in empty]
        room = limits if sum(limits) >= sum(removed.values()) else empty
        grown = handed_out(sum(removed.values()), list(parts.values()), room)
        for (name, mask), number in zip(change.after.items(), grown, strict=True):
            expected = dropped_and_grown(
                flat(change.weights[name]), before[name], [abs(a) for a in averages[name]],
                removed[name], num_grown=number,
            )  # fmt: skip
            assert flat(mask) == expected, (change.step, name)
    assert len(counts) == 1


def test_a_layer_whose_average_is_larger_gets_more():
    weights = {"a": torch.ones(100), "b": torch.ones(100)}
    masks = {name: torch.arange(100) < 50 for name in weights}
    gradients = {"a": torch.full((100,), 3.0), "b": torch.ones(100)}
    view = SparseView(step=5, weights=weights, masks=masks, gradients=lambda: gradients, state={})
    method = momentum(swaps=SwapSchedule(end_step=30, update_every=5, drop_fraction=0.4))
    after = method.updated_masks(view)
    removed = 2 * method.swaps.num_swapped(50, 5)
    assert int(after["a"].sum()) == 50 - removed // 2 + round(0.75 * removed)
    assert kept_and_prunable(after) == (100, 200)


@pytest.mark.parametrize("make", [snfs, momentum])
def test_the_average_needs_dense_gradients_up_to_the_last_change(make):
    method = make()
    last = method.swaps.last_change
    assert last in {28, 30}
    costs = [method.step_flops(step, dense=1.0, sparse=0.2) / 3 for step in (1, last, last + 1)]
    assert costs == pytest.approx([(2 * 0.2 + 1) / 3, (2 * 0.2 + 1) / 3, 0.2])
    assert not method.is_due(last + 1)


def test_growth_that_looks_at_every_step_cannot_take_all_of_their_places():
    with pytest.raises(UserError, match=r"^growth=AveragedGradient: .*; set replaces_update=false"):
        RigL(
            sparsity=0.8,
            distribution=Uniform(),
            swaps=SWAPS,
            growth=AveragedGradient(),
        )


def test_an_average_that_is_zero_everywhere_ends_the_run_in_one_line():
    zeros = {"a": torch.zeros(9)}
    view = SparseView(
        step=5, weights=zeros, masks={"a": torch.arange(9) < 5}, gradients=lambda: zeros, state={}
    )
    with pytest.raises(DivergedError, match=r"^step 5: every gradient is zero"):
        momentum(distribution=Uniform()).updated_masks(view)


def test_a_factor_that_is_no_fraction_is_refused():
    with pytest.raises(UserError, match=r"^factor=1: must be a fraction"):
        AveragedGradient(factor=1)
