import math

import pytest

from lightning_sparse.analysis.evidence import (
    log_curve_over_line,
    log_rise_over_tolerance,
    log_rise_ratio,
    path_evidence,
    run_evidence,
)
from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import MeasuredRise
from lightning_sparse.rises import Rise, barriers
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    Effects,
    evaluation,
    path_points,
    simulated_path,
    simulated_records,
)


def measured(rise, tolerance):
    return MeasuredRise(
        rise=Rise(value=rise, from_t=0.0, to_t=0.5),
        tolerance=tolerance,
        barriers=barriers([0.0, 1.0], [1.0, 0.5]),
        first=1.0,
        last=0.5,
    )


@pytest.mark.parametrize(
    ("rise", "ratio"), [(0.0, 0.5), (0.04, 0.5), (0.05, 0.5), (0.1, 1.0), (0.3, 3.0)]
)
def test_a_rise_counts_from_its_tolerance_on_and_not_below_half_of_it(rise, ratio):
    assert log_rise_over_tolerance([measured(rise, 0.1)]) == pytest.approx(math.log(ratio))


def test_two_rises_are_compared_as_a_ratio():
    rises = [measured(0.6, 0.1), measured(0.2, 0.02)]
    assert log_rise_ratio(rises) == pytest.approx(math.log(3))


def test_two_rises_too_small_to_count_are_equal_whatever_their_tolerances():
    # With a floor of its own for each path the ratio would be 10.
    assert log_rise_ratio([measured(0.0, 0.1), measured(0.0, 0.01)]) == 0
    assert log_rise_ratio([measured(0.04, 0.1), measured(0.0, 0.01)]) == 0


def test_a_rise_is_compared_with_one_too_small_to_count_as_if_that_were_at_the_floor():
    assert log_rise_ratio([measured(0.5, 0.1), measured(0.0, 0.02)]) == pytest.approx(math.log(10))


@pytest.mark.parametrize(
    ("curve", "line", "ratio"),
    [
        ((0.1, 0.02), 2.0, 0.5),  # 0.1 of 10 % of 2.0
        ((0.1, 0.02), 0.0, 5.0),  # a flat line leaves tol as the threshold
        ((0.0, 0.02), 2.0, 0.05),  # floored at 0.01
        ((0.3, 0.5), 2.0, 0.6),  # tol above 10 % of the line
    ],
)
def test_a_curve_is_compared_with_a_tenth_of_its_line(curve, line, ratio):
    rises = [measured(*curve), measured(line, 9.0)]
    assert log_curve_over_line(rises) == pytest.approx(math.log(ratio))


RECORDS = simulated_records([11, 12, 13], grid=ENDS_AND_MIDDLE, sparsities=[0.98])
LINE = Route("scratch:end", "prune:end")


def without(*run_ids):
    kept = [record for record in RECORDS if record.run_id not in run_ids]
    return ExperimentRecords.from_records(kept)


def test_a_path_of_one_seed_that_is_missing_is_named():
    experiment = without("path-S-end-P-end-1-dense-0.98-seed12")
    found = path_evidence(experiment, [LINE], log_rise_over_tolerance, sparsity=0.98)
    assert found.missing == ["line scratch:end to prune:end at sparsity 0.98 of seed 12"]
    assert list(found.values) == [11, 13]
    assert found.records == [f"path-S-end-P-end-1-dense-0.98-seed{seed}" for seed in (11, 13)]


def test_a_pair_of_paths_needs_both():
    experiment = without("path-D-end-D2-end-2-dense-0-seed11")
    routes = [
        Route("dense:end", "dense2:end", QUADRATIC, "dense"),
        Route("dense:end", "dense2:end"),
    ]
    found = path_evidence(experiment, routes, log_curve_over_line, sparsity=0.98)
    assert found.missing == ["dense quadratic dense:end to dense2:end of seed 11"]
    assert list(found.values) == [12, 13]


def test_a_run_that_is_missing_is_named():
    experiment = without("scratch-init_scratch-0.98-seed13")
    found = run_evidence(experiment, ("prune:end", "scratch:end"), lambda *_: 1.0, sparsity=0.98)
    assert found.missing == ["scratch:end at sparsity 0.98 of seed 13"]
    assert list(found.values) == [11, 12]


def test_seeds_are_paired():
    experiment = ExperimentRecords.from_records(RECORDS)
    found = run_evidence(
        experiment,
        ("prune:end", "scratch:end"),
        lambda pruned, scratch: float(pruned.seed == scratch.seed),
        sparsity=0.98,
    )
    assert found.values == {11: 1.0, 12: 1.0, 13: 1.0}
    assert found.on_objective == {}


def test_reversed_ends_and_unfinished_refinement_are_remarked():
    ends = {11: (0.2, 0.1), 12: (0.1, 0.2), 13: (0.1, 0.3)}
    paths = [
        simulated_path(
            "scratch:end",
            "prune:end",
            seed,
            points=path_points(evaluation(first), evaluation(last), 1.0, grid=ENDS_AND_MIDDLE),
            refinement_converged=seed != 11,
        )
        for seed, (first, last) in ends.items()
    ]
    experiment = ExperimentRecords.from_records(paths)
    silent = path_evidence(experiment, [LINE], log_rise_over_tolerance, sparsity=0.98)
    counted = path_evidence(
        experiment, [LINE], log_rise_over_tolerance, sparsity=0.98, counts_reversed_ends=True
    )
    assert silent.remarks == ["largest rise not refined to 2 % on 1 of 3 paths"]
    assert counted.remarks[1:] == ["ends reversed (worse at t = 1) in 2 of 3 seeds"]


def test_nothing_is_remarked_where_all_is_well():
    well = simulated_records([1], effects=Effects(loss_spread=0.0), grid=ENDS_AND_MIDDLE)
    experiment = ExperimentRecords.from_records(well)
    found = path_evidence(
        experiment, [LINE], log_rise_over_tolerance, sparsity=0.98, counts_reversed_ends=True
    )
    assert found.remarks == []
