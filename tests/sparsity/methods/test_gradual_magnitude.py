import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.masks import (
    apply_masks_,
    kept_and_prunable,
    layer_counts,
    num_kept,
)
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from lightning_sparse.sparsity.methods.gradual_random import GradualRandom
from lightning_sparse.sparsity.view import SparseView
from lightning_sparse.streams import stream_generator
from tests.reference.before_training import ranked_together
from tests.reference.sparsity import gradual_sparsities, sorted_top_k
from tests.sparsity.simulation import flat, simulate

SHAPES = {"conv1": (8, 3, 3, 3), "conv2": (16, 8, 3, 3), "fc": (10, 16)}


def gradual(method_type=GradualMagnitude, **changes):
    defaults = {
        "sparsity": 0.9,
        "start_step": 10,
        "end_step": 25,
        "update_every": 4,
        "distribution": Uniform(),
    }
    return method_type(**{**defaults, **changes})


def random_weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def walk(method, num_steps, seed=0):
    """Train with noise for gradients; yield the step, the masks in force and the weights."""
    weights = random_weights(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    masks = method.initial_masks(SparseView.at_start(weights))
    for step in range(1, num_steps + 1):
        for name, weight in weights.items():
            weight.add_(0.3 * masks[name] * torch.randn(weight.shape, generator=generator))
        if method.is_due(step):
            masks = method.updated_masks(SparseView(step=step, weights=weights, masks=masks))
            apply_masks_(weights, masks)
        yield step, masks, weights


def test_updates_are_regular_after_the_start_and_the_end_step_is_one():
    method = gradual(start_step=10, end_step=25, update_every=4)
    assert [step for step in range(60) if method.is_due(step)] == [14, 18, 22, 25]


def test_an_end_step_that_fits_the_period_is_one_update():
    method = gradual(start_step=0, end_step=8, update_every=4)
    assert [step for step in range(20) if method.is_due(step)] == [4, 8]


def test_a_period_longer_than_the_window_leaves_the_end_step():
    method = gradual(start_step=2, end_step=8, update_every=100)
    assert [step for step in range(200) if method.is_due(step)] == [8]


def test_everything_is_kept_at_the_start():
    masks = gradual().initial_masks(SparseView.at_start(random_weights()))
    assert all(bool(mask.all()) for mask in masks.values())
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == SHAPES


@pytest.mark.parametrize(
    "distribution", [Uniform(), Uniform(first_layer=0.0, last_layer=0.5), ErdosRenyiKernel()]
)
def test_counts_are_those_of_the_schedule_at_every_step(distribution):
    method = gradual(distribution=distribution)
    finals = distribution.layer_sparsities(SHAPES, 0.9)
    in_force = {
        name: gradual_sparsities(num_steps=40, begin=10, end=25, frequency=4, final=final)
        for name, final in finals.items()
    }
    for step, masks, _ in walk(method, 40):
        counts = layer_counts(masks)
        assert {name: count.kept for name, count in counts.items()} == {
            name: num_kept(count.prunable, in_force[name][step]) for name, count in counts.items()
        }


def test_the_first_layer_stays_dense_where_the_policy_says_so():
    *_, (_, masks, _) = walk(gradual(distribution=Uniform(first_layer=0.0)), 30)
    assert bool(masks["conv1"].all())
    assert int(masks["conv2"].sum()) == 16 * 8 * 9 - 1036  # 1036.8 zeros


@given(st.integers(0, 1000), st.integers(1, 7), st.floats(0.0, 0.99))
def test_masks_are_nested(seed, update_every, sparsity):
    previous = None
    for _, masks, _ in walk(gradual(update_every=update_every, sparsity=sparsity), 27, seed):
        for name, mask in (previous or {}).items():
            assert bool((masks[name] <= mask).all())
        previous = masks


def test_the_smallest_weights_of_each_layer_go():
    weights = {"a": torch.tensor([3.0, -1.0, 2.0, -4.0]), "b": torch.tensor([10.0, 20.0])}
    method = gradual(sparsity=0.5)
    masks = method.updated_masks(SparseView.at_start(weights, step=25))
    assert masks["a"].tolist() == [True, False, False, True]
    assert masks["b"].tolist() == [False, True]


def test_a_kept_weight_of_zero_outranks_a_pruned_one():
    """Ranked by magnitude alone the tie would go to the first entry, which was pruned."""
    weights = {"a": torch.tensor([0.0, 0.0, 5.0, 0.0])}
    masks = {"a": torch.tensor([False, True, True, True])}
    updated = gradual(sparsity=0.5).updated_masks(SparseView(step=25, weights=weights, masks=masks))
    assert updated["a"].tolist() == [False, True, True, False]


def test_nothing_changes_the_weights_or_masks_it_was_given():
    weights, method = random_weights(), gradual()
    masks = method.initial_masks(SparseView.at_start(weights))
    method.updated_masks(SparseView(step=25, weights=weights, masks=masks))
    assert all(bool(mask.all()) for mask in masks.values())
    assert all(torch.equal(weights[name], w) for name, w in random_weights().items())


@pytest.mark.parametrize(
    ("step", "target"), [(0, 0.0), (10, 0.0), (15, 0.9 * 19 / 27), (25, 0.9), (99, 0.9)]
)
def test_the_nominal_target_follows_the_cubic_schedule(step, target):
    assert gradual().target_sparsity(step) == pytest.approx(target)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sparsity", 1.0),
        ("sparsity", -0.1),
        ("sparsity", 98),
        ("start_step", -1),
        ("end_step", 10),
        ("end_step", 3),
        ("update_every", 0),
    ],
)
def test_a_bad_field_is_named_with_its_value(field, value):
    with pytest.raises(UserError, match=f"^{field}={value}: must"):
        gradual(**{field: value})


def test_fields_cannot_change_afterwards():
    with pytest.raises(AttributeError):
        gradual().sparsity = 0.5


@pytest.mark.parametrize("method_type", [GradualMagnitude, GradualRandom])
def test_without_a_distribution_all_layers_are_ranked_together(method_type):
    method = gradual(method_type, distribution=None)
    in_force = gradual_sparsities(num_steps=40, begin=10, end=25, frequency=4, final=0.9)
    for change in simulate(method, 40):
        kept, total = kept_and_prunable(change.after)
        assert kept == num_kept(total, in_force[change.step])
        if method.is_due(change.step):
            scores = kept_scores(method_type, change)
            assert flat_masks(change.after) == ranked_together(scores, kept)


def test_random_pruning_keeps_any_of_what_is_still_kept():
    method, last = gradual(GradualRandom), None
    for change in simulate(method, 40):
        last = change
        if method.is_due(change.step):
            scores = kept_scores(GradualRandom, change)
            assert flat_masks(change.after) == {
                name: sorted_top_k(scores[name], int(mask.sum()))
                for name, mask in change.after.items()
            }
    assert all(
        layer.kept == num_kept(layer.prunable, 0.9) for layer in layer_counts(last.after).values()
    )


def kept_scores(method_type, change):
    """Score what was kept, and everything else below it, as lists."""
    generator = stream_generator(0, "mask", change.step)
    draws = {name: torch.rand(shape, generator=generator) for name, shape in SHAPES.items()}
    scores = change.weights if method_type is GradualMagnitude else draws
    return {
        name: [
            abs(s) if kept else -1 for s, kept in zip(flat(scores[name]), flat(mask), strict=True)
        ]
        for name, mask in change.before.items()
    }


def flat_masks(masks):
    return {name: flat(mask) for name, mask in masks.items()}


def test_a_schedule_goes_on_from_the_sparsity_of_the_masks_that_it_is_given():
    *_, (_, given_masks, _) = walk(gradual(sparsity=0.5), 30)
    method = gradual(sparsity=0.9, masks=given_masks)
    before = {step: masks for step, masks, _ in walk(method, 30)}
    assert method.target_sparsity(10) == pytest.approx(0.5, abs=0.01)
    assert layer_counts(before[13]) == layer_counts(given_masks)
    for step in range(2, 31):
        assert all((before[step - 1][name] | ~mask).all() for name, mask in before[step].items())
    kept = {name: counts.kept for name, counts in layer_counts(before[30]).items()}
    assert kept == {name: num_kept(mask.numel(), 0.9) for name, mask in given_masks.items()}


def test_given_masks_that_have_removed_more_than_is_asked_for_are_refused():
    *_, (_, given_masks, _) = walk(gradual(sparsity=0.9), 30)
    message = r"sparsity=0\.5: .conv1. would come to 0\.5000, and the masks that are given"
    with pytest.raises(UserError, match=message):
        gradual(sparsity=0.5, masks=given_masks).initial_masks(
            SparseView.at_start(random_weights())
        )
