"""AC/DC against a walk through its phases, and a ranking of every weight."""

import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.models.flops import ForwardFlops, flops_of_run
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.masks import kept_and_prunable, layer_counts, num_kept
from lightning_sparse.sparsity.methods.acdc import ACDC
from tests.reference.before_training import ranked_together
from tests.reference.phases import phases
from tests.sparsity.simulation import SHAPES, flat, simulate

IMAGENET = phases(100, [10, 20, 30, 40, 50, 60, 70, 85], [15, 25, 35, 45, 55, 65, 75])
CIFAR = {"prune_at": [0.05, 0.25, 0.45, 0.65, 0.85], "free_at": [0.15, 0.35, 0.55, 0.75]}
CIFAR_PHASES = phases(200, [10, 50, 90, 130, 170], [30, 70, 110, 150])


def acdc(**changes):
    return ACDC(**{"sparsity": 0.9, "num_steps": 40, **changes})


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 1251])
def test_phases_are_those_of_the_published_recipes(steps_per_epoch):
    for num_epochs, expected, words in ((100, IMAGENET, {}), (200, CIFAR_PHASES, CIFAR)):
        method = acdc(num_steps=num_epochs * steps_per_epoch, **words)
        targets = [method.target_sparsity(epoch * steps_per_epoch) for epoch in range(num_epochs)]
        assert [target > 0 for target in targets] == expected
        due = [step for step in range(method.num_steps + 1) if method.is_due(step)]
        turns = [e for e in range(1, num_epochs) if expected[e] != expected[e - 1]]
        assert due == [epoch * steps_per_epoch for epoch in turns]
    assert (sum(IMAGENET), sum(CIFAR_PHASES)) == (50, 110)


@pytest.mark.parametrize(
    ("words", "num_epochs", "sparse", "expected"),
    [({}, 100, 0.2, 0.6), ({}, 100, 0.1, 0.55), ({}, 100, 0.05, 0.525), (CIFAR, 200, 0.1, 0.505)],
)
def test_training_costs_what_the_authors_compute(words, num_epochs, sparse, expected):
    method = acdc(num_steps=num_epochs, sparsity=1 - sparse, **words)
    kept = {
        step: {"a": 1000 - round(1000 * method.target_sparsity(step))}
        for step in range(num_epochs)
        if step == 0 or method.is_due(step)
    }
    flops = flops_of_run(
        ForwardFlops(layers={"a": 1000}, others=0), {"a": 1000}, kept, num_epochs,
        lambda step, dense, inside: method.step_flops(step, dense=dense, sparse=inside),
    )  # fmt: skip
    assert flops.training / (3 * flops.dense) == pytest.approx(expected)


def test_every_phase_keeps_the_largest_of_all_layers_or_everything():
    num_kept_by_step = {}
    for change in simulate(acdc(), 40):
        kept, total = kept_and_prunable(change.after)
        num_kept_by_step[change.step] = kept
        if kept < total and change.after is not change.before:
            scores = {name: [abs(w) for w in flat(w)] for name, w in change.weights.items()}
            expected = ranked_together(scores, num_kept(total, 0.9))
            assert {name: flat(mask) for name, mask in change.after.items()} == expected
    sparse = [step for step, kept in num_kept_by_step.items() if kept == num_kept(total, 0.9)]
    assert sparse == [
        step for first, end in ((4, 6), (8, 10), (12, 14), (16, 18), (20, 22), (24, 26), (28, 30),
        (34, 41)) for step in range(first, end)
    ]  # fmt: skip
    assert {*num_kept_by_step.values()} == {total, num_kept(total, 0.9)}


def test_a_distribution_shares_the_sparsity_out():
    method = acdc(distribution=Uniform(first_layer=0.0))
    *_, last = simulate(method, 40)
    shares = Uniform(first_layer=0.0).layer_sparsities(SHAPES, 0.9)
    assert {name: layer.kept for name, layer in layer_counts(last.after).items()} == {
        name: num_kept(layer.prunable, shares[name])
        for name, layer in layer_counts(last.after).items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"prune_at": [0.1, 0.5], "free_at": [0.6]},
        {"prune_at": [0.1], "free_at": [0.5]},
        {"prune_at": [0.1, 1.2], "free_at": [0.5]},
        {"prune_at": [0.0, 0.8], "free_at": [0.5]},
        {"num_steps": 10},
    ],
)
def test_phases_that_do_not_alternate_and_end_sparse_are_refused(changes):
    with pytest.raises(UserError, match=r"^prune_at=\[.*\], free_at=\[.*\]: must be shares of"):
        acdc(**changes)


def test_a_run_that_would_end_dense_is_refused():
    acdc().check_length(34)
    with pytest.raises(UserError, match=r"^end_step=34: the run ends at step 33"):
        acdc().check_length(33)
