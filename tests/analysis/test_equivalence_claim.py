"""Rates of false and of right verdicts on simulated seeds, with a known and an estimated margin."""

import math

import numpy as np
import pytest

from lightning_sparse.analysis.claim import Evidence
from lightning_sparse.analysis.equivalence_claim import EquivalenceClaim
from lightning_sparse.analysis.statistics import equivalence_test, t_interval

CLAIM = EquivalenceClaim(name="R3", statement="", rule="", unit="")
NUM_EXPERIMENTS = 800


def verdicts(number, truth, spread, *, margin=1.0, seed=0):
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(NUM_EXPERIMENTS):
        values = generator.normal(truth, spread, number)
        evidence = Evidence(values=dict(enumerate(values)), on_objective={}, records=[])
        limit = (
            margin if margin is not None else float(np.std(generator.normal(0, 1, number), ddof=1))
        )
        found.append(CLAIM.judge(evidence, limit).verdict)
    return {name: found.count(name) / NUM_EXPERIMENTS for name in ("supported", "contradicted")}


@pytest.mark.parametrize("number", [3, 6])
@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("truth", [1.0, -1.0])
def test_at_the_margin_itself_neither_is_said_in_more_than_one_case_of_twenty(
    number, spread, truth
):
    rates = verdicts(number, truth, spread)
    assert rates["supported"] <= 0.06
    assert rates["contradicted"] <= 0.035


def test_what_is_alike_is_found_alike_and_what_is_far_is_found_far():
    assert verdicts(3, 0.0, 0.25)["supported"] > 0.8
    assert verdicts(6, 0.0, 0.5)["supported"] > 0.8
    assert verdicts(6, 3.0, 0.5)["contradicted"] > 0.8
    assert verdicts(3, 0.5, 0.01)["supported"] == 1
    assert verdicts(3, 1.5, 0.01)["contradicted"] == 1


@pytest.mark.parametrize("number", [3, 6])
def test_with_a_margin_from_as_many_seeds_what_differs_by_it_is_seldom_called_alike(number):
    """The scatter of a difference is that of both its sides."""
    assert verdicts(number, 1.0, math.sqrt(2), margin=None)["supported"] <= 0.05


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.35], [-0.9, 0.3, 0.2], [0.5, 0.5, 0.5]])
@pytest.mark.parametrize("margin", [0.3, 0.6, 2.0])
def test_the_test_and_the_interval_at_90_percent_say_the_same(values, margin):
    low, high = t_interval(values, 0.9)
    assert (equivalence_test(values, margin) < 0.05) == (-margin < low and high < margin)


def test_without_a_margin_a_run_or_a_second_seed_nothing_is_decided():
    alike = {1: 0.0, 2: 0.001, 3: -0.001}
    for values, missing, margin in [
        (alike, (), None), (alike, ("snip:end of seed 4",), 1.0), ({1: 0.0}, (), 1.0)
    ]:  # fmt: skip
        evidence = Evidence(values=values, on_objective={}, records=[], missing=missing)
        assert CLAIM.judge(evidence, margin).verdict == "undecided"
