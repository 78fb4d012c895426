import dataclasses

import pytest

from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.analysis.tables import (
    ALL_LAYERS,
    MEASURES,
    SECOND_DENSE_ARM,
    endpoint_table,
    path_table,
    sparsity_table,
    summary_table,
)
from lightning_sparse.records import RunRecord
from tests.analysis.simulate import SPARSITIES, simulated_records

RECORDS = simulated_records([13, 11, 12])
EXPERIMENT = ExperimentRecords.from_records(RECORDS)


def one(rows, **wanted):
    (row,) = [
        row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())
    ]
    return row


def test_there_is_a_summary_for_every_arm_sparsity_and_measure():
    rows = summary_table(EXPERIMENT)
    arms = {(row.arm, row.target_sparsity) for row in rows}
    sparse = {(arm, s) for arm in ("prune", "scratch", "lottery") for s in SPARSITIES}
    assert arms == sparse | {("dense", 0.0), (SECOND_DENSE_ARM, 0.0)}
    assert len(rows) == len(arms) * len(MEASURES)


def test_a_summary_is_the_mean_and_interval_over_its_seeds():
    row = one(
        summary_table(EXPERIMENT), arm="scratch", target_sparsity=0.9, measure="test_accuracy"
    )
    values = [
        record.test.accuracy
        for seed in (11, 12, 13)
        for record in RECORDS
        if record.run_id == f"scratch-init_scratch-0.9-seed{seed}"
    ]
    assert row.mean == pytest.approx(sum(values) / 3)
    assert row.interval == t_interval(values)
    assert row.seeds == (11, 12, 13)
    assert row.records == tuple(f"scratch-init_scratch-0.9-seed{seed}" for seed in (11, 12, 13))


def test_the_measures_are_told_apart():
    (run,) = [record for record in RECORDS if record.run_id == "prune-init-0.98-seed11"]
    rows = summary_table(ExperimentRecords.from_records([run]))
    assert {row.measure: row.mean for row in rows} == {
        "train_loss": run.train.loss,
        "train_objective": run.train.objective,
        "train_accuracy": run.train.accuracy,
        "test_loss": run.test.loss,
        "test_accuracy": run.test.accuracy,
    }
    assert len({row.mean for row in rows}) == len(MEASURES)
    assert {row.interval for row in rows} == {None}


def test_every_path_has_a_row_that_names_its_record():
    rows = path_table(EXPERIMENT)
    assert [row.record for row in rows] == sorted(
        (row.record for row in rows), key=[record.run_id for record in rows_in_order(rows)].index
    )
    assert {row.record for row in rows} == {path.run_id for path in EXPERIMENT.paths}


def rows_in_order(rows):
    by_id = {path.run_id: path for path in EXPERIMENT.paths}
    return [by_id[row.record] for row in rows]


def test_a_path_row_has_the_rises_of_loss_and_objective():
    row = one(path_table(EXPERIMENT), name="sparse quadratic S-end to P-end", seed=12)
    (path,) = [path for path in EXPERIMENT.paths if path.run_id == row.record]
    inside = [point for point in path.points if 0 <= point.t <= 1]
    peak = max(point.train.loss for point in inside)
    assert row.loss.rise.value == pytest.approx(peak - inside[0].train.loss)
    assert row.loss.barriers.worse_end == pytest.approx(row.loss.rise.value)
    assert row.objective.rise.value == pytest.approx(row.loss.rise.value)
    assert row.objective.first == pytest.approx(row.loss.first + 0.05)
    assert (row.distance, row.length) == (15.0, 21.0)
    assert (row.space, row.degree, row.target_sparsity) == ("sparse", 2, 0.98)


def test_paths_of_one_kind_stand_together_in_the_order_of_seeds():
    rows = path_table(EXPERIMENT)
    names = [row.name for row in rows]
    assert [names.index(name) for name in names] == sorted(names.index(name) for name in names)
    assert [row.seed for row in rows[:3]] == [11, 12, 13]


def test_every_run_has_a_row_with_its_integer_counts():
    rows = endpoint_table(EXPERIMENT)
    assert {row.record for row in rows} == {run.run_id for run in EXPERIMENT.runs}
    row = one(rows, record="prune-init-0.98-seed13")
    (run,) = [run for run in EXPERIMENT.runs if run.run_id == row.record]
    assert (row.kept, row.prunable) == (733, 23824) == (run.kept, run.prunable)
    assert row.measured_sparsity == pytest.approx(1 - 733 / 23824)
    assert row.measures["test_accuracy"] == run.test.accuracy
    assert one(rows, record="dense-init-0-seed11").measured_sparsity == 0


def test_layers_are_listed_in_network_order_and_runs_with_equal_counts_share_a_row():
    rows = [row for row in sparsity_table(EXPERIMENT) if row.target_sparsity == 0.98]
    assert [row.layer for row in rows] == ["conv1", "conv2", "conv3", "fc", ALL_LAYERS]
    assert [(row.kept, row.prunable) for row in rows][1] == (92, 4608)
    assert rows[-1].kept == sum(row.kept for row in rows[:-1]) == 733
    assert all(len(row.records) == 9 for row in rows)


def test_a_run_with_other_counts_has_rows_of_its_own():
    odd = dataclasses.replace(
        next(run for run in EXPERIMENT.runs if isinstance(run, RunRecord)),
        run_id="odd",
        seed=14,
        kept=1,
    )
    rows = sparsity_table(ExperimentRecords.from_records([*RECORDS, odd]))
    assert one(rows, kept=1).records == ("odd",)


def test_dense_runs_have_no_masks_to_count():
    assert {row.target_sparsity for row in sparsity_table(EXPERIMENT)} == set(SPARSITIES)
