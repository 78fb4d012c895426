import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.rises import Rise, barriers, descent, largest_rise, margin, tolerance

# Multiples of 1/64, small and large, on which float arithmetic is exact.
losses = st.lists(st.integers(-500, 500).map(lambda n: n / 64), min_size=2, max_size=12)


def evenly(values):
    return [i / (len(values) - 1) for i in range(len(values))]


def all_pairs_rise(values):
    pairs = itertools.combinations_with_replacement(values, 2)
    return max(later - earlier for earlier, later in pairs)


@given(losses)
def test_largest_rise_is_the_best_of_all_pairs(values):
    rise = largest_rise(evenly(values), values)
    assert rise.value == all_pairs_rise(values)


@given(losses)
def test_the_named_pair_attains_the_rise(values):
    ts = evenly(values)
    rise = largest_rise(ts, values)
    assert rise.from_t <= rise.to_t
    assert values[ts.index(rise.to_t)] - values[ts.index(rise.from_t)] == rise.value


@given(losses, st.integers(-1000, 1000))
def test_adding_a_constant_changes_no_rise_and_no_barrier(values, constant):
    ts, shifted = evenly(values), [value + constant for value in values]
    assert largest_rise(ts, shifted) == largest_rise(ts, values)
    assert barriers(ts, shifted).worse_end == barriers(ts, values).worse_end
    assert barriers(ts, shifted).chord == pytest.approx(barriers(ts, values).chord, abs=1e-9)


@given(losses)
def test_a_falling_path_does_not_rise_whatever_its_ends(values):
    falling = sorted(values, reverse=True)
    rise = largest_rise(evenly(values), falling)
    assert (rise.value, rise.from_t) == (0.0, rise.to_t)


@given(losses)
def test_a_climbing_path_rises_by_the_difference_of_its_ends(values):
    climbing = sorted(values)
    assert largest_rise(evenly(values), climbing).value == climbing[-1] - climbing[0]


@given(losses)
def test_more_points_never_lower_the_rise(values):
    ts = evenly(values)
    finer = largest_rise(
        sorted([*ts, *((a + b) / 2 for a, b in itertools.pairwise(ts))]),
        [
            *itertools.chain(*([a, max(a, b) + 1] for a, b in itertools.pairwise(values))),
            values[-1],
        ],
    )
    assert finer.value >= largest_rise(ts, values).value


@given(losses)
def test_barriers_are_ordered(values):
    found = barriers(evenly(values), values)
    assert found.mean_of_ends >= found.worse_end >= 0
    assert found.chord >= 0


def test_the_direction_matters():
    ts, values = [0.0, 0.5, 1.0], [3.0, 1.0, 2.0]
    assert largest_rise(ts, values) == Rise(value=1.0, from_t=0.5, to_t=1.0)
    assert largest_rise(ts, values[::-1]) == Rise(value=2.0, from_t=0.5, to_t=1.0)


def test_points_outside_the_unit_interval_are_not_judged():
    ts, values = [-0.2, 0.0, 1.0, 1.2], [0.0, 2.0, 1.0, 9.0]
    assert largest_rise(ts, values).value == 0.0
    assert barriers(ts, values).worse_end == 0.0


def test_the_ends_themselves_are_judged():
    assert largest_rise([0.0, 1.0], [1.0, 1.5]) == Rise(value=0.5, from_t=0.0, to_t=1.0)


def test_barriers_by_hand():
    # Chord at 0.25, 0.5, 0.75 is 2, 3, 4 between ends 1 and 5; the excess is largest at 0.25.
    found = barriers([0.0, 0.25, 0.5, 0.75, 1.0], [1.0, 5.0, 6.0, 4.0, 5.0])
    assert (found.chord, found.mean_of_ends, found.worse_end) == (3.0, 3.0, 1.0)


def test_the_chord_barrier_interpolates_in_t_and_not_in_the_index():
    # At t = 0.9 the chord between 0 and 10 is 9, not 5.
    assert barriers([0.0, 0.9, 1.0], [0.0, 9.5, 10.0]).chord == pytest.approx(0.5)


def test_a_path_below_its_chord_has_no_barrier():
    assert barriers([0.0, 0.5, 1.0], [4.0, 1.0, 2.0]).chord == 0.0


def test_barriers_of_one_point_are_zero():
    found = barriers([0.5], [3.0])
    assert (found.chord, found.mean_of_ends, found.worse_end) == (0.0, 0.0, 0.0)


def test_tolerance_is_two_standard_errors_or_a_hundredth_of_the_gap():
    assert tolerance(standard_error=0.02, first=1.0, last=1.0) == 0.04
    assert tolerance(standard_error=0.02, first=1.0, last=9.0) == pytest.approx(0.08)
    assert tolerance(standard_error=0.02, first=9.0, last=1.0) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("ts", "values", "message"),
    [
        ([0.0, 1.0], [1.0], "2 values of t, but 1 values"),
        ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], "increase strictly"),
        ([1.0, 0.0], [1.0, 1.0], "increase strictly"),
        ([-0.2, 1.2], [1.0, 1.0], "no point of the path"),
        ([], [], "no point of the path"),
    ],
)
@pytest.mark.parametrize("function", [largest_rise, barriers])
def test_a_path_that_is_none_is_refused(function, ts, values, message):
    with pytest.raises(ValueError, match=message):
        function(ts, values)


def walked(values):
    """R by the book: climb counted from t = 0 until the loss has come down to the end's."""
    way = [values[0]]
    for value in values[1:]:
        way.append(value)
        if value <= values[-1]:
            break
    return all_pairs_rise(way)


@given(losses)
def test_the_descent_is_what_a_walker_climbs_before_it_is_as_good_as_the_end(values):
    found = descent(evenly(values), values)
    ts = evenly(values)
    assert found.value == walked(values)
    assert values[ts.index(found.to_t)] - values[ts.index(found.from_t)] == found.value
    assert found.value <= largest_rise(ts, values).value


@given(losses)
def test_the_descent_is_the_whole_rise_where_nothing_lies_below_the_end(values):
    path = [*values, min(values) - 1]
    assert descent(evenly(path), path) == largest_rise(evenly(path), path)


def test_a_climb_back_from_below_the_end_is_a_rise_but_no_obstacle():
    # As a dense curve does: down to 0.001, then up to the pruned solution's 0.036.
    ts, values = [-0.2, 0.0, 0.3, 0.6, 1.0, 1.2], [9.0, 0.1, 0.11, 0.001, 0.036, 5.0]
    assert descent(ts, values).value == pytest.approx(0.01)
    assert largest_rise(ts, values).value == pytest.approx(0.035)
    assert barriers(ts, values).worse_end == pytest.approx(0.01)
    assert barriers(ts, values).top_t == 0.3


def test_from_a_start_that_is_no_worse_than_the_end_the_first_step_may_end_the_descent():
    assert descent([0.0, 0.5, 1.0], [1.0, 0.9, 1.0]).value == 0.0
    assert descent([0.0, 0.5, 1.0], [1.0, 1.5, 1.2]).value == 0.5


def test_the_margin_depends_on_the_number_of_classes_alone():
    assert margin(10) == pytest.approx(0.01 * math.log(10))
    assert margin(1000) == pytest.approx(3 * margin(10))
