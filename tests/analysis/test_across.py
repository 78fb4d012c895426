import dataclasses
from pathlib import Path

import pytest

from lightning_sparse.analysis.across import (
    accuracy_against_sparsity,
    gap_against_length,
    rise_against_rewind_step,
)
from lightning_sparse.analysis.measured_rises import measure_rise
from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.records import PathRecord, RunRecord, read_records
from tests.report.found import ARMS

PUBLISHED = Path(__file__).parents[2] / "results" / "rules_1" / "digits" / "records.jsonl"


@pytest.fixture(scope="module")
def records():
    return read_records(PUBLISHED)


def runs_of(records, method, sparsity=0.98):
    return sorted(
        (
            record
            for record in records
            if isinstance(record, RunRecord)
            and record.method == method
            and record.target_sparsity == sparsity
        ),
        key=lambda run: run.seed,
    )


def with_config(record, run_id, **changes):
    """A copy whose settings differ; ``training__num_steps`` is ``training.num_steps``."""
    config = {**record.config}
    for name, value in changes.items():
        first, _, rest = name.partition("__")
        config[first] = {**config[first], rest: value} if rest else value
    return dataclasses.replace(record, run_id=run_id, config=config)


def test_accuracy_is_that_of_the_runs_at_each_sparsity_with_an_interval_over_seeds(records):
    series = accuracy_against_sparsity(records)
    assert [line.name for line in series] == ["prune", "scratch", "lottery"]
    for line in series:
        assert [point.x for point in line.points] == [0.8, 0.9, 0.95, 0.98]
        assert line.num_left_out == 0
        for point in line.points:
            runs = runs_of(records, line.name, point.x)
            values = {run.seed: run.test.accuracy for run in runs}
            assert point.values == values
            assert len(values) >= 5
            assert point.mean == pytest.approx(sum(values.values()) / len(values))
            assert point.interval == t_interval(list(values.values()))
            assert point.records == tuple(run.run_id for run in runs)


def test_runs_with_other_settings_are_counted_and_not_mixed_in(records):
    others = [
        with_config(run, f"other-{run.run_id}", training__learning_rate=9.0)
        for run in runs_of(records, "scratch")[:3]
    ]
    scratch = next(
        line for line in accuracy_against_sparsity([*others, *records]) if line.name == "scratch"
    )
    assert scratch.num_left_out == 3
    for point in scratch.points:
        assert set(point.values) == {run.seed for run in runs_of(records, "scratch", point.x)}


def test_the_gap_is_paired_by_the_run_that_the_mask_is_from(records):
    pruned, scratch = runs_of(records, "prune"), runs_of(records, "scratch")
    longer = []
    for run, of in zip(scratch, pruned, strict=True):
        test = dataclasses.replace(run.test, accuracy=run.test.accuracy - 0.05)
        source = with_config(of, f"long-{of.run_id}", training__num_steps=25000)
        copy = with_config(run, f"long-{run.run_id}", training__num_steps=25000)
        longer += [
            dataclasses.replace(source, num_steps=25000),
            dataclasses.replace(copy, num_steps=25000, test=test, mask_source=source.run_id),
        ]
    line = gap_against_length([*pruned, *scratch, *longer])[0]
    assert line.name == "scratch"
    assert [point.x for point in line.points] == [5000, 25000]
    short = {
        run.seed: of.test.accuracy - run.test.accuracy
        for run, of in zip(scratch, pruned, strict=True)
    }
    assert line.points[0].values == pytest.approx(short)
    assert line.points[1].values == pytest.approx({k: v + 0.05 for k, v in short.items()})


def test_the_rise_is_that_of_the_lines_from_the_lottery_to_the_pruned_solution(records):
    lines = [
        record
        for record in records
        if isinstance(record, PathRecord)
        and str(record.start_point) == "lottery:end"
        and str(record.end_point) == "prune:end"
    ]
    assert len(lines) == len(runs_of(records, "lottery"))
    rewound = [with_config(line, f"rewound-{line.run_id}", rewind_step=250) for line in lines]
    (series,) = rise_against_rewind_step([*records, *rewound], ARMS)
    assert [point.x for point in series.points] == [0, 250]
    expected = {line.seed: measure_rise(line).rise.value for line in lines}
    assert series.points[0].values == series.points[1].values == expected


def test_what_has_no_records_has_no_series():
    assert accuracy_against_sparsity([]) == []
    assert gap_against_length([]) == []
    assert rise_against_rewind_step([], ARMS) == []
