import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.analysis.statistics import t_interval

samples = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


@given(samples)
def test_it_is_the_interval_of_scipy(values):
    mean, error = np.mean(values), scipy.stats.sem(values)
    expected = scipy.stats.t.interval(0.95, len(values) - 1, loc=0, scale=1)
    low, high = t_interval(values)
    assert low == pytest.approx(mean + expected[0] * error, abs=1e-9)
    assert high == pytest.approx(mean + expected[1] * error, abs=1e-9)


def test_three_seeds_by_hand():
    # Mean 2, deviation 1, quantile of two degrees of freedom 4.302653.
    low, high = t_interval([1.0, 2.0, 3.0])
    assert low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)


@pytest.mark.parametrize("values", [[], [3.0]])
def test_below_two_seeds_there_is_no_interval(values):
    assert t_interval(values) is None


@given(st.floats(-10, 10), st.integers(2, 9))
def test_equal_values_give_an_interval_of_exactly_no_width(value, count):
    assert t_interval([value] * count) == (value, value)


@given(samples, st.randoms())
def test_the_order_of_seeds_is_irrelevant(values, random):
    shuffled = random.sample(values, len(values))
    assert t_interval(shuffled) == t_interval(values)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_it_covers_the_truth_in_95_of_100(num_seeds):
    draws = np.random.default_rng(0).normal(7.0, 3.0, size=(2000, num_seeds))
    intervals = [t_interval(row.tolist()) for row in draws]
    coverage = np.mean([low < 7.0 < high for low, high in intervals])
    # Four standard errors; the normal quantile would cover 70, 81 and 88 %.
    assert abs(coverage - 0.95) < 0.02
