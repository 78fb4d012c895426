"""The search for the smallest share on seeds whose truth is known, and its judges."""

import math

import numpy as np
import pytest

from lightning_sparse.analysis.claims.f_critical_share import judge_choice, judge_few
from lightning_sparse.analysis.critical_share import (
    ORDERS,
    SEARCHES,
    SHARES,
    critical_share,
    is_complete,
    next_share,
    route_to,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    evaluation,
    path_points,
    simulated_path,
)

DELTA = 0.01 * math.log(10)
START, END = evaluation(0.16), evaluation(0.04)


def searched(truth, descent=None):
    """Ask until all is known, where shares from ``truth`` on succeed; return what was tried."""
    descent = descent or (lambda share: [0.5, 0.4] if share < truth else [0.01, 0.3])
    tried = {share: descent(share) for share in SHARES}
    while (share := next_share(tried, DELTA)) is not None:
        tried[share] = descent(share)
    return tried


@pytest.mark.parametrize("truth", [0.013, 0.03, 0.07, 0.2, 0.33, 0.7, 1.0])
def test_the_share_is_found_to_a_factor_of_one_and_a_half(truth):
    tried = searched(truth)
    found = critical_share(tried, DELTA).share
    assert truth <= found <= 1.5 * truth * 1.01
    assert is_complete(tried, DELTA)
    assert len(tried) <= len(SHARES) + 3


def test_a_larger_set_holds_the_curves_of_a_smaller_one():
    """A search that fails by bad luck at a larger share takes back no curve of a smaller one."""
    tried = searched(0.05, lambda share: [0.001] if share in {0.05, 1.0} else [0.3])
    assert critical_share(tried, DELTA).share == pytest.approx(0.05, rel=0.4)


def test_nothing_and_the_mask_alone_are_told_apart():
    assert critical_share(searched(2.0), DELTA).share is None
    at_zero = critical_share(searched(0.0), DELTA)
    assert (at_zero.share, at_zero.is_zero) == (0.0, True)
    assert at_zero.log == math.log(0.01)


def records(truths):
    """Paths of seeds, by order the share from which each succeeds."""
    found = {}
    for seed, by_order in truths.items():
        for order in ORDERS:
            tried = searched(by_order[order])
            for share, descents in tried.items():
                for search, descent in zip(SEARCHES, descents, strict=True):
                    route = route_to(share, order, search)
                    points = path_points(START, END, descent, grid=ENDS_AND_MIDDLE)
                    run_id = f"{route.name}-{seed}"
                    found[run_id] = simulated_path(
                        route.start, route.end, seed, degree=2, points=points, rules=2,
                        space="dense" if route.space == "dense" else "end_mask",
                        num_classes=10, run_id=run_id, freed_share=route.share,
                        freed_order=route.order, search_seed=search,
                    )  # fmt: skip
    return ExperimentRecords.from_records(found.values())


def scattered(generator, num_seeds=6, *, random, chosen, spread=0.4):
    """Truths of seeds whose logarithms scatter by ``spread``; at most everything."""
    middles = {"random": random, "gradient": chosen, "magnitude": chosen}
    return {
        31 + seed: {
            order: min(1.0, middle * math.exp(spread * generator.standard_normal()))
            for order, middle in middles.items()
        }
        for seed in range(num_seeds)
    }


def rates(number, judge, **truth):
    verdicts = [
        judge(
            records(scattered(np.random.default_rng([place, 3]), **truth)),
            headline_sparsity=HEADLINE_SPARSITY,
        ).verdict
        for place in range(number)
    ]
    return {one: verdicts.count(one) / number for one in set(verdicts)}


def test_few_coordinates_are_found_to_suffice_and_many_not():
    """At a truth of 15 % with a spread of 0.4 in ln x, six seeds."""
    assert rates(15, judge_few, random=0.15, chosen=0.1).get("supported", 0) >= 0.8
    assert rates(15, judge_few, random=0.9, chosen=0.1).get("supported", 0) == 0


def test_a_choice_that_matters_is_found_and_one_that_does_not_rarely():
    """A fifth as many suffice, or as many."""
    assert rates(15, judge_choice, random=0.3, chosen=0.06).get("supported", 0) >= 0.8
    even = rates(30, judge_choice, random=0.15, chosen=0.15)
    assert even.get("supported", 0) <= 0.05


def test_more_than_one_censored_seed_in_five_leaves_it_open():
    truths = scattered(np.random.default_rng(0), random=0.1, chosen=0.05)
    for seed in (31, 32):
        truths[seed]["random"] = 2.0
    # Whether everything succeeds does not hang on the order.
    failing = {seed: dict.fromkeys(ORDERS, 2.0) for seed in (31, 32)}
    result = judge_few(records({**truths, **failing}), headline_sparsity=HEADLINE_SPARSITY)
    assert (result.verdict, result.qualifier) == ("undecided", ": search too weak")
    assert "censored: 2 of 6 seeds" in result.note
    whole = judge_choice(records({**truths, **failing}), headline_sparsity=HEADLINE_SPARSITY)
    assert (whole.verdict, whole.qualifier) == ("undecided", ": search too weak")
    one = judge_few(
        records({**truths, 31: failing[31], 32: truths[33]}), headline_sparsity=HEADLINE_SPARSITY
    )
    assert (one.verdict, one.num_seeds) == ("supported", 5)


def test_the_whole_of_both_orders_has_the_seeds_and_the_p_of_what_decides_it():
    """One order that needs more than a random one contradicts it, and either could have."""
    truths = scattered(np.random.default_rng(1), random=0.1, chosen=0.1, spread=0.1)
    for truth in truths.values():
        truth["gradient"] = 0.6
    whole = judge_choice(records(truths), headline_sparsity=HEADLINE_SPARSITY)
    by_gradient, by_magnitude = whole.parts
    assert (whole.verdict, by_magnitude.verdict) == ("contradicted", "undecided")
    assert whole.p == pytest.approx(2 * by_gradient.p)
    assert whole.by_seed == by_gradient.by_seed != {}


def test_a_search_that_is_not_over_is_missing():
    experiment = records({31: dict.fromkeys(ORDERS, 0.2)})
    shorter = [path for path in experiment.paths if path.freed_share in {None, 0.01, 0.02}]
    result = judge_few(ExperimentRecords.from_records(shorter), headline_sparsity=HEADLINE_SPARSITY)
    assert result.verdict == "undecided"
    assert "missing: shares by random of seed 31" in result.note
