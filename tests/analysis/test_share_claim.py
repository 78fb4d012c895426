"""Rates of false and of right verdicts on simulated mixtures of seeds.

Each seed is flat or rising, by a coin; a tenth of all seeds may have failed outright, in which the
loss rises by many nats. The truth is the share of seeds that are flat. A verdict is false if it
says more or less than half where half is the truth, or the wrong side elsewhere.
"""

import functools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lightning_sparse.analysis.claims import a_descents_from_starts
from lightning_sparse.analysis.measured_descents import MeasuredDescent
from lightning_sparse.analysis.share_claim import (
    SeedOutcome,
    ShareClaim,
    ShareEvidence,
    every_path_climbs,
)
from lightning_sparse.analysis.statistics import share_interval, share_test, t_interval
from lightning_sparse.rises import barriers, descent, largest_rise, margin

CLAIM = ShareClaim(name="A", statement="", rule="")
NUMBERS = (6, 8, 20)
NUM_EXPERIMENTS = 400


@functools.cache
def measured(rise, gap=0.2):
    ts, values = [0.0, 0.5, 1.0], [gap + 0.03, gap + 0.03 + rise, 0.03]
    return MeasuredDescent(
        descent=descent(ts, values),
        rise=largest_rise(ts, values),
        barriers=barriers(ts, values),
        margin=margin(10),
        first=values[0],
        last=values[-1],
        descent_error=0.0,
        barrier_error=0.0,
    )


def a_seed(generator, share_flat, share_failed):
    """One line of A: flat ones are near zero, rising ones above the margin by any factor."""
    if generator.random() < share_failed:
        return a_descents_from_starts.outcome([measured(25.0)])
    is_flat = generator.random() < share_flat
    rises = (0.0, 0.3, 0.99) if is_flat else (1.01, 1.5, 40.0)
    return a_descents_from_starts.outcome([measured(margin(10) * generator.choice(rises))])


def b_seed(generator, share_climbing, share_failed):
    """Three paths of B: with one flat among them there is a way; a failed run leaves no gap."""
    if generator.random() < share_failed:
        return every_path_climbs([measured(0.3, gap=-3.0)] * 3)
    rises = [0.4, 0.2, 0.15]
    if generator.random() >= share_climbing:
        rises[generator.integers(3)] = 0.01
    return every_path_climbs([measured(rise) for rise in rises])


def verdicts(seed_of, number, share, share_failed):
    generator = np.random.default_rng([number, round(1000 * share), round(100 * share_failed)])
    return Counter(
        CLAIM.judge(
            ShareEvidence(
                outcomes={seed: seed_of(generator, share, share_failed) for seed in range(number)}
            )
        ).verdict
        for _ in range(NUM_EXPERIMENTS)
    )


@pytest.mark.parametrize("seed_of", [a_seed, b_seed])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("share_failed", [0.0, 0.1])
def test_where_half_of_all_seeds_hold_neither_verdict_is_given_often(seed_of, number, share_failed):
    found = verdicts(seed_of, number, 0.5 / (1 - share_failed), share_failed)
    # 5 % and what four hundred experiments leave to chance.
    assert found["supported"] + found["contradicted"] <= 0.075 * NUM_EXPERIMENTS
    assert found["undecided"] > 0


@pytest.mark.parametrize("seed_of", [a_seed, b_seed])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("share_failed", [0.0, 0.1])
def test_a_claim_that_is_just_true_is_hardly_ever_contradicted(seed_of, number, share_failed):
    found = verdicts(seed_of, number, 0.6 / (1 - share_failed), share_failed)
    assert found["contradicted"] <= 0.04 * NUM_EXPERIMENTS


@pytest.mark.parametrize(
    ("number", "share", "share_failed", "power"),
    [
        (6, 0.97, 0.0, 0.80),
        (20, 0.90, 0.0, 0.95),
        (20, 1.0, 0.1, 0.95),  # All flat but a tenth that failed: 90 % hold.
        (9, 0.95, 0.0, 0.90),
    ],
)
def test_power_at_the_stated_shares(number, share, share_failed, power):
    assert verdicts(a_seed, number, share, share_failed)["supported"] >= power * NUM_EXPERIMENTS


def test_how_flat_a_flat_seed_is_has_no_say():
    # Under rules 1 three zeros gave an interval of no width, and any number of them support.
    for rise in (0.0, 0.5 * margin(10), margin(10)):
        outcomes = dict.fromkeys(range(3), a_descents_from_starts.outcome([measured(rise)]))
        result = CLAIM.judge(ShareEvidence(outcomes=outcomes))
        assert result.verdict == "undecided"
        assert result.interval == pytest.approx((0.292, 1.0), abs=1e-3)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("share_failed", [0.0, 0.1])
def test_means_over_seeds_that_fail_in_either_arm_alike_are_rarely_found(number, share_failed):
    generator = np.random.default_rng([number, round(100 * share_failed)])

    def loss():
        failed = generator.random() < share_failed
        return 25 * generator.random() if failed else 0.06 * np.exp(generator.normal(0, 0.3))

    found = 0
    for _ in range(NUM_EXPERIMENTS):
        low, high = t_interval([loss() - loss() for _ in range(number)])
        found += low > 0 or high < 0
    assert found <= 0.075 * NUM_EXPERIMENTS


@pytest.mark.parametrize("count", [1, 2, 6, 9, 20, 61])
def test_intervals_and_tests_of_shares_are_scipys(count):
    for holding in range(count + 1):
        test = stats.binomtest(holding, count, 0.5)
        interval = test.proportion_ci(method="exact")
        assert share_interval(holding, count) == pytest.approx((interval.low, interval.high))
        assert share_test(holding, count) == pytest.approx(test.pvalue)
        low, high = share_interval(holding, count)
        assert (share_test(holding, count) < 0.05) == (low > 0.5 or high < 0.5)


def outcome(holds):
    return SeedOutcome(holds=holds, value=0.0)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([True] * 6, "supported"),
        ([False] * 6, "contradicted"),
        ([True] * 5 + [None], "undecided: measured too coarsely"),
        ([True] * 9 + [None], "supported"),
        ([True] * 3 + [False] * 2 + [None], "undecided"),
        ([], "undecided"),
    ],
)
def test_what_is_unclear_is_counted_both_ways(answers, words):
    outcomes = {seed: outcome(answer) for seed, answer in enumerate(answers)}
    assert CLAIM.judge(ShareEvidence(outcomes=outcomes)).verdict_words == words
