import pytest

from lightning_sparse.analysis.measured_rises import SMALLEST_TOLERANCE, measure_rise
from lightning_sparse.errors import UserError
from lightning_sparse.records import PathPoint
from tests.analysis.simulate import evaluation, path_points, simulated_path


def path_of(*points):
    """Make a path from (t, loss, standard error) or (t, loss, standard error, regulariser)."""
    return simulated_path(
        "scratch:end",
        "prune:end",
        11,
        run_id="the-path",
        points=[
            PathPoint(
                t=t,
                train=evaluation(loss, standard_error=error, regulariser=(more or [0.05])[0]),
                test=evaluation(99.0),
            )
            for t, loss, error, *more in points
        ],
    )


def test_the_tolerance_takes_the_larger_standard_error_of_the_pair_that_rises():
    # Rise from 0.25 to 0.75; neither the ends' errors nor the middle's may count.
    measured = measure_rise(
        path_of((0, 2, 0.5), (0.25, 1, 0.03), (0.5, 1.5, 0.4), (0.75, 3, 0.02), (1, 2, 0.5))
    )
    assert (measured.rise.value, measured.rise.from_t, measured.rise.to_t) == (2.0, 0.25, 0.75)
    assert measured.tolerance == 0.06


def test_without_a_rise_the_ends_give_the_standard_error():
    measured = measure_rise(path_of((0, 2, 0.01), (0.5, 1.5, 0.4), (1, 1.5, 0.04)))
    assert measured.rise.value == 0
    assert measured.tolerance == 0.08


def test_a_hundredth_of_the_gap_is_tolerated_with_any_precision():
    assert measure_rise(path_of((0, 9, 0.001), (1, 1, 0.001))).tolerance == pytest.approx(0.08)


def test_a_loss_known_without_error_still_has_a_positive_tolerance():
    measured = measure_rise(path_of((0, 0, 0), (1, 0, 0)))
    assert measured.tolerance == SMALLEST_TOLERANCE
    assert measured.floored > 0


def test_a_rise_is_floored_at_half_the_tolerance_and_only_there():
    below = measure_rise(path_of((0, 1, 0.05), (1, 1.04, 0.05)))
    above = measure_rise(path_of((0, 1, 0.05), (1, 1.06, 0.05)))
    assert below.floored == 0.05
    assert above.floored == above.rise.value == pytest.approx(0.06)


def test_the_objective_is_measured_on_itself_with_the_error_of_the_loss():
    # The loss falls; the regulariser makes the objective climb by 0.5 between 0 and 1.
    path = path_of((0, 2, 0.01, 0.0), (1, 1, 0.02, 1.5))
    assert measure_rise(path, "loss").rise.value == 0
    objective = measure_rise(path, "objective")
    assert (objective.rise.value, objective.tolerance) == (0.5, 0.04)
    assert (objective.first, objective.last) == (2.0, 2.5)


def test_the_training_subset_is_judged_and_not_the_test_set():
    assert measure_rise(path_of((0, 1, 0.01), (1, 2, 0.01))).last == 2.0


def test_extrapolation_is_not_judged():
    measured = measure_rise(path_of((-0.2, 0, 1), (0, 2, 0.01), (1, 1, 0.01), (1.2, 9, 1)))
    assert (measured.rise.value, measured.first, measured.last) == (0.0, 2.0, 1.0)


@pytest.mark.parametrize(("last", "is_reversed"), [(0.9, False), (1.0, False), (1.1, True)])
def test_ends_are_reversed_when_the_last_is_worse(last, is_reversed):
    assert measure_rise(path_of((0, 1, 0.01), (1, last, 0.01))).ends_are_reversed is is_reversed


@pytest.mark.parametrize("ts", [(0.1, 1.0), (0.0, 0.9), (0.0, 1.0000000000000002)])
def test_a_path_without_its_exact_ends_is_refused(ts):
    with pytest.raises(UserError, match="path the-path: no point at exactly t = 0 and t = 1"):
        measure_rise(path_of(*((t, 1, 0.01) for t in ts)))


def test_a_path_out_of_order_is_refused():
    with pytest.raises(UserError, match="path the-path: t must increase strictly"):
        measure_rise(path_of((1, 1, 0.01), (0, 1, 0.01)))


@pytest.mark.parametrize("rise", [0.0, 0.02, 3.0])
def test_the_simulated_path_has_the_rise_it_was_given(rise):
    first, last = evaluation(0.16), evaluation(0.08)
    path = simulated_path("scratch:end", "prune:end", 1, points=path_points(first, last, rise))
    assert measure_rise(path).rise.value == pytest.approx(rise)
    assert (measure_rise(path).first, measure_rise(path).last) == (0.16, 0.08)
