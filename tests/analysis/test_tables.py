import dataclasses

from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.tables import (
    ALL_LAYERS,
    sparsity_table,
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
