import dataclasses
import math

import pytest

from lightning_sparse.analysis.experiment import ExperimentRecords, Route, route_of
from lightning_sparse.errors import UserError
from lightning_sparse.records import PathRecord, RunRecord, curve_of_degree
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    evaluation,
    path_points,
    run_id,
    simulated_path,
    simulated_records,
    simulated_run,
)

RECORDS = simulated_records([11, 12], grid=ENDS_AND_MIDDLE)
POINTS = path_points(evaluation(0.2), evaluation(0.1), 1.0, grid=ENDS_AND_MIDDLE)


def replaced(wanted, **changes):
    """Return all records, one of them changed."""
    return [
        dataclasses.replace(record, **changes) if record.run_id == wanted else record
        for record in RECORDS
    ]


def run(method, **changes):
    return simulated_run(method, 11, 0.98, train=evaluation(0.1), test=evaluation(0.1), **changes)


def test_everything_simulated_is_found_again():
    experiment = ExperimentRecords.from_records(RECORDS)
    assert experiment.seeds == (11, 12)
    assert len(experiment.runs) + len(experiment.paths) == len(RECORDS)
    found = [experiment.path(route_of(path), path.seed, 0.98) for path in experiment.paths]
    assert found == list(experiment.paths)


@pytest.mark.parametrize(
    ("point", "method", "start"),
    [
        ("dense:start", "dense", "init"),
        ("dense:end", "dense", "init"),
        ("dense2:end", "dense", "init/scratch"),
        ("prune:end", "prune", "init"),
        ("lottery:start", "lottery", "init"),
        ("lottery:end", "lottery", "init"),
        ("scratch:start", "scratch", "init/scratch"),
        ("scratch:end", "scratch", "init/scratch"),
    ],
)
def test_a_point_belongs_to_its_run(point, method, start):
    found = ExperimentRecords.from_records(RECORDS).run(point, 12, 0.98)
    assert (found.method, found.start, found.seed) == (method, start, 12)
    assert found.target_sparsity == (0.0 if method == "dense" else 0.98)


def test_what_was_not_made_is_not_found():
    experiment = ExperimentRecords.from_records(RECORDS)
    assert experiment.run("prune:end", 13, 0.98) is None
    assert experiment.run("prune:end", 11, 0.97) is None
    assert experiment.path(Route("scratch:end", "prune:end"), 11, 0.9) is None
    assert experiment.path(Route("prune:end", "scratch:end"), 11, 0.98) is None


def test_a_sparsity_that_differs_by_rounding_is_the_same():
    found = ExperimentRecords.from_records(RECORDS).run("prune:end", 11, math.nextafter(0.98, 1))
    assert found.target_sparsity == 0.98


@pytest.mark.parametrize(
    ("degree", "space", "expected"),
    [
        (1, "dense", "line"),
        (1, "end_mask", "line"),
        (2, "dense", "dense"),
        (2, "end_mask", "sparse"),
        (3, "intersection", "sparse"),
    ],
)
def test_a_line_has_no_space_and_every_mask_is_sparse(degree, space, expected):
    path = simulated_path("scratch:end", "prune:end", 1, degree=degree, space=space, points=POINTS)
    assert route_of(path) == Route("scratch:end", "prune:end", curve_of_degree(degree), expected)


def test_no_records_are_refused():
    with pytest.raises(UserError, match="no records"):
        ExperimentRecords.from_records([])


def test_two_experiments_are_not_mixed():
    with pytest.raises(UserError, match="several experiments: other, simulated"):
        ExperimentRecords.from_records([*RECORDS, run("prune", experiment="other", run_id="odd")])


def test_a_run_id_comes_once():
    with pytest.raises(UserError, match=f"run id {RECORDS[3].run_id} comes twice"):
        ExperimentRecords.from_records([*RECORDS, RECORDS[3]])


def test_two_runs_of_the_same_arm_and_seed_are_both_named():
    twin = run("scratch", run_id="the-twin")
    expected = (
        f"{run_id('scratch', 'init/scratch', 11, 0.98)} and the-twin are both the scratch run"
    )
    with pytest.raises(UserError, match=expected):
        ExperimentRecords.from_records([*RECORDS, twin])


def test_two_paths_of_the_same_kind_and_seed_are_both_named():
    twin = simulated_path(
        "scratch:end", "prune:end", 11, degree=2, space="union", points=POINTS, run_id="the-twin"
    )
    expected = "and the-twin are both the sparse quadratic scratch:end to prune:end, "
    "seed 11, sparsity 0.98"
    with pytest.raises(UserError, match=expected):
        ExperimentRecords.from_records([*RECORDS, twin])


def test_a_mask_from_another_run_is_refused():
    scratch = run_id("scratch", "init/scratch", 11, 0.98)
    with pytest.raises(UserError, match=f"run {scratch}: its mask is from elsewhere"):
        ExperimentRecords.from_records(replaced(scratch, mask_source="elsewhere"))


@pytest.mark.parametrize(("field", "value"), [("kept", 1), ("num_steps", 7)])
def test_arms_that_were_not_trained_alike_are_refused(field, value):
    lottery = run_id("lottery", "init", 11, 0.98)
    with pytest.raises(UserError, match=f"run {lottery}: {field}={value}, but prune"):
        ExperimentRecords.from_records(replaced(lottery, **{field: value}))


@pytest.mark.parametrize("side", ["start_run", "end_run"])
def test_a_path_between_other_runs_is_refused(side):
    path = next(record for record in RECORDS if isinstance(record, PathRecord))
    with pytest.raises(UserError, match=f"path {path.run_id}: its .* is of run stale"):
        ExperimentRecords.from_records(replaced(path.run_id, **{side: "stale"}))


def test_a_path_whose_runs_are_not_here_is_taken():
    paths = [record for record in RECORDS if isinstance(record, PathRecord)]
    assert len(ExperimentRecords.from_records(paths).paths) == len(paths)


def test_an_end_that_is_no_point_is_refused():
    path = next(record for record in RECORDS if isinstance(record, PathRecord))
    with pytest.raises(UserError, match=r"'X-end' is no point; write an arm or a run folder"):
        ExperimentRecords.from_records(replaced(path.run_id, start="X-end"))


def test_paths_of_earlier_records_are_found_by_todays_points():
    in_letters = [
        dataclasses.replace(record, start=record.start_point.letters, end=record.end_point.letters)
        if isinstance(record, PathRecord)
        else record
        for record in RECORDS
    ]
    then, now = map(ExperimentRecords.from_records, (in_letters, RECORDS))
    for path in now.paths:
        found = then.path(route_of(path), path.seed, path.target_sparsity)
        assert found is not None
        assert found.run_id == path.run_id


@pytest.mark.parametrize(
    "change",
    [{"batch_norm": "stored"}, {"num_recalibration_images": 64}, {"train_subset_hash": "other"}],
)
def test_paths_measured_in_two_ways_are_not_compared(change):
    path = [record for record in RECORDS if isinstance(record, PathRecord)][5]
    with pytest.raises(UserError, match=f"{path.run_id} cannot be compared: {next(iter(change))}"):
        ExperimentRecords.from_records(replaced(path.run_id, **change))


def test_runs_without_any_path_are_an_experiment():
    runs = [record for record in RECORDS if isinstance(record, RunRecord)]
    assert ExperimentRecords.from_records(runs).paths == ()
