"""Both against a walk over every place, at every step of a simulated training."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.growth import AtRandom, LargestGradient, SmallestGradient
from lightning_sparse.sparsity.masks import layer_counts, num_kept
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.methods.set import SET
from lightning_sparse.sparsity.regrowth import SwapSchedule
from lightning_sparse.streams import stream_generator
from tests.reference.swaps import dropped_and_grown, rigl_clock, rigl_number
from tests.sparsity.simulation import SHAPES, flat, same_masks, simulate

SWAPS = SwapSchedule(start_step=3, end_step=30, update_every=5)


def make(method_type=RigL, **changes):
    defaults = {"sparsity": 0.8, "distribution": ErdosRenyiKernel(), "swaps": SWAPS}
    return method_type(**{**defaults, **changes})


def growth_of(change, rule):
    """Growth scores of each layer, as lists."""
    if rule is AtRandom:
        generator = stream_generator(0, "mask", change.step)
        return {n: flat(torch.rand(shape, generator=generator)) for n, shape in SHAPES.items()}
    sign = 1 if rule is LargestGradient else -1
    return {name: [sign * abs(g) for g in flat(change.gradients[name])] for name in SHAPES}


def check_walk(method, rule, updates):
    """Compare every step of a simulated training with a walk over all places."""
    num_moved = 0
    for change in simulate(method, 45):
        if change.step not in updates:
            assert not change.step or change.after is change.before
            continue
        growth = growth_of(change, rule)
        for name, mask in change.after.items():
            before = flat(change.before[name])
            number = rigl_number(
                sum(before), fraction=0.3, step=updates[change.step], begin=3, end=30
            )
            expected = dropped_and_grown(
                flat(change.weights[name]), before, growth[name], number,
                may_regrow=method.regrow == "allowed",
            )  # fmt: skip
            assert flat(mask) == expected, (change.step, name)
            num_moved += flat(mask) != before
    assert num_moved >= 10


@pytest.mark.parametrize("regrow", ["allowed", "forbidden"])
@pytest.mark.parametrize("rule", [LargestGradient, SmallestGradient, AtRandom])
def test_rigl_is_a_walk_over_all_places(rule, regrow):
    updates = rigl_clock(begin=3, end=30, every=5, num_batches=45)
    assert list(updates.values()) == [3, 8, 13, 18, 23, 28]
    check_walk(make(growth=rule(), regrow=regrow), rule, updates)


@pytest.mark.parametrize("rule", [LargestGradient, AtRandom])
def test_rigl_after_the_step_is_a_walk_over_all_places(rule):
    updates = {step: step for step in range(3, 31, 5)}
    check_walk(make(growth=rule(), replaces_update=False), rule, updates)


def test_set_is_a_walk_over_all_places():
    check_walk(make(SET), AtRandom, {step: step for step in range(3, 31, 5)})


@pytest.mark.parametrize("distribution", [Uniform(), Uniform(first_layer=0.0), ErdosRenyiKernel()])
@pytest.mark.parametrize("method_type", [RigL, SET])
def test_every_layer_keeps_its_exact_number_at_every_step(method_type, distribution):
    shares = distribution.layer_sparsities(SHAPES, 0.8)
    for change in simulate(make(method_type, distribution=distribution), 45):
        assert {name: layer.kept for name, layer in layer_counts(change.after).items()} == {
            name: num_kept(change.weights[name].numel(), shares[name]) for name in SHAPES
        }


@pytest.mark.parametrize("method_type", [RigL, SET])
def test_the_share_of_weights_ever_kept_is_counted_over_the_run(method_type):
    method, ever = make(method_type), set()
    for change in simulate(method, 45):
        for name, mask in change.after.items():
            ever |= {(name, place) for place, kept in enumerate(flat(mask)) if kept}
    total = sum(weight.numel() for weight in change.weights.values())
    assert method.observations(change.state) == {"share_ever_kept": len(ever) / total}
    assert len(ever) > 1.3 * 0.2 * total


def test_gradients_are_needed_at_changes_alone_and_cost_a_dense_pass_there():
    method = make(swaps=SwapSchedule(end_step=25_000, update_every=100))
    needed = [step for step in range(1, 400) if method.needs_gradients(step)]
    assert needed == [1, 102, 203, 304]
    assert not any(make(SET).needs_gradients(step) for step in range(50))
    assert not any(make(growth=AtRandom()).needs_gradients(step) for step in range(50))


@pytest.mark.parametrize(
    ("sparse", "relative"), [(0.2, 0.2026), (0.1, 0.1030), (0.05, 0.0531), (0.42, 0.4219)]
)
def test_training_costs_what_the_authors_compute(sparse, relative):
    method = make(swaps=SwapSchedule(end_step=25_000, update_every=100))
    costs = [method.step_flops(step, dense=1.0, sparse=sparse) / 3 for step in range(1, 102)]
    exact = (3 * sparse * 100 + 2 * sparse + 1) / (3 * 101)
    assert sum(costs) / 101 == pytest.approx(exact)
    assert round(exact, 4) == pytest.approx(relative, abs=1.01e-4)
    assert make(SET).step_flops(5, dense=1.0, sparse=sparse) == pytest.approx(3 * sparse)


def test_a_layer_without_empty_places_stays_dense_where_regrowth_is_forbidden():
    method = make(distribution=Uniform(first_layer=0.0), regrow="forbidden")
    for change in simulate(method, 20):
        assert bool(change.after["conv1"].all())


def test_growth_without_place_is_refused_before_the_first_step():
    method = make(sparsity=0.1, distribution=Uniform(), regrow="forbidden")
    with pytest.raises(UserError, match=r"^regrow=forbidden: 'conv1' has 21 empty places for 58 "):
        next(simulate(method, 1))


@pytest.mark.parametrize("method_type", [RigL, SET])
def test_a_period_longer_than_training_is_refused(method_type):
    make(method_type).check_length(8)
    with pytest.raises(UserError, match=r"^update_every=5: no change of masks falls into steps 3"):
        make(method_type).check_length(2)


@pytest.mark.parametrize("method_type", [RigL, SET])
def test_percent_is_refused(method_type):
    with pytest.raises(UserError, match=r"^sparsity=80: must be a fraction"):
        make(method_type, sparsity=80)


def test_other_seeds_begin_with_other_masks():
    first, second = (next(simulate(make(), 1, seed=seed)).after for seed in (0, 1))
    assert not same_masks(first, second)
