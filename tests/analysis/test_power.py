import numpy as np
import pytest

from lightning_sparse.analysis.power import (
    fewest_holding,
    power_of_mean,
    power_of_share,
    seeds_for_mean,
    seeds_for_share,
    table,
)
from lightning_sparse.analysis.statistics import t_interval


def test_six_of_six_are_the_fewest_that_decide_a_share():
    assert [fewest_holding(number) for number in range(1, 7)] == [None] * 5 + [6]


@pytest.mark.parametrize(("number", "effect"), [(3, 2.0), (6, 1.0), (9, 1.5)])
def test_the_power_of_a_mean_is_how_often_simulated_seeds_decide(number, effect):
    generator = np.random.default_rng(number)
    decided = 0
    for values in generator.normal(effect, 1.0, (3000, number)):
        low, high = t_interval(values.tolist())
        decided += low > 0 or high < 0
    assert decided / 3000 == pytest.approx(power_of_mean(number, effect), abs=0.03)


def test_a_share_on_either_side_needs_as_many_seeds():
    assert seeds_for_share(0.9, 2) == seeds_for_share(0.1, 2) == 12


def test_the_number_of_seeds_named_is_the_first_that_is_likely_to_decide():
    values = [0.3, 1.2, 0.7, -0.4]
    number = seeds_for_mean(values, 5)
    effect = float(np.mean(values) / np.std(values, ddof=1))
    assert power_of_mean(number - 1, effect) < 0.8 <= power_of_mean(number, effect)
    assert seeds_for_mean([1.0], 2) is None


def test_the_default_number_of_seeds_decides_what_the_published_effects_were():
    # Shares: 20 of 20 in the published digits; D1: mean 0.0234, deviation 0.0096; D2: 2.7 sd.
    assert power_of_share(6, 0.97) > 0.8
    assert power_of_mean(6, 2.4) > 0.95
    assert power_of_share(3, 1.0) == 0.0


def test_the_table_has_a_row_for_each_number():
    lines = table([6, 9]).splitlines()
    assert [line.split()[0] for line in lines] == ["seeds", "6", "9"]
    assert lines[1].split()[1] == f"{power_of_share(6, 0.9):.3f}"
