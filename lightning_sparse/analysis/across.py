"""Runs of many sweeps, side by side: one quantity against one setting, with intervals over seeds.

Only runs whose other settings are equal are drawn as one series; of several such groups the one
that covers the most values of the setting is shown, and the others are counted.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lightning_sparse.analysis.measured_rises import measure_rise
from lightning_sparse.analysis.statistics import Interval, t_interval
from lightning_sparse.arms import Arm
from lightning_sparse.records import STRAIGHT_LINE, PathRecord, Record, RunRecord

# Settings that say nothing of a run, or that are looked at as its arm or its ends.
_NOT_OF_RUNS = ("seed", "method", "path", "curve", "evaluation", "capture_steps", "num_workers")
_NOT_OF_PATHS = (
    "seed", "method", "path.start", "path.end", "path.degree", "curve", "capture_steps",
    "num_workers",
)  # fmt: skip

Group = TypeVar("Group", RunRecord, PathRecord)


@dataclass(frozen=True, kw_only=True)
class SeriesPoint:
    """One value of the setting.

    Attributes:
        x: The setting.
        values: The quantity, by seed.
        records: Run ids behind it.
    """

    x: float
    values: Mapping[int, float]
    records: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return sum(self.values.values()) / len(self.values)

    @property
    def interval(self) -> Interval | None:
        """Student's t at 95 %; None for one seed."""
        return t_interval(list(self.values.values()))


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a figure.

    Attributes:
        name: The arm, or the kind of path.
        points: In increasing x.
        num_left_out: Records with other settings than those shown.
    """

    name: str
    points: tuple[SeriesPoint, ...]
    num_left_out: int


def accuracy_against_sparsity(records: Iterable[Record]) -> list[Series]:
    """Test accuracy of each sparse arm, in [0, 1], against nominal sparsity."""
    runs = [record for record in records if isinstance(record, RunRecord) and record.is_masked]
    return _all_series(
        _by_arm(runs),
        x=lambda run: run.target_sparsity,
        y=lambda run: run.test.accuracy,
        along=("sparsity", "mask_source"),
    )


def gap_against_length(records: Iterable[Record]) -> list[Series]:
    """Test accuracy that the run whose mask was given has more than the run with it, against steps.

    Paired: each run with the one that its mask is from.
    """
    runs = {record.run_id: record for record in records if isinstance(record, RunRecord)}
    paired = [run for run in runs.values() if run.mask_source in runs and not run.rewind_step]

    def gap(run: RunRecord) -> float:
        assert run.mask_source is not None
        return runs[run.mask_source].test.accuracy - run.test.accuracy

    return _all_series(
        _by_arm(paired),
        x=lambda run: float(run.num_steps),
        y=gap,
        along=("training.num_steps", "pruning", "training.lr_schedule", "mask_source"),
    )


def rise_against_rewind_step(records: Iterable[Record], arms: Mapping[str, Arm]) -> list[Series]:
    """Largest rise of the training loss, in nats, between a run and the one that it starts from.

    Args:
        records: Of paths.
        arms: By name, which say where they start.
    """
    pairs = [
        {f"{name}:end", f"{arm.start.run}:end"}
        for name, arm in arms.items()
        if arm.start and arm.start.moment != "end"
    ]
    paths = [
        record
        for record in records
        if isinstance(record, PathRecord)
        and {str(record.start_point), str(record.end_point)} in pairs
    ]
    return _all_series(
        {"line": [path for path in paths if path.curve == STRAIGHT_LINE]},
        x=lambda path: float(path.config.get("rewind_step", 0)),
        y=lambda path: measure_rise(path).rise.value,
        along=("rewind_step", "capture_steps"),
    )


def _by_arm(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Group by arm: first the one that gives others its masks."""
    found: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        found[run.arm].append(run)
    return dict(sorted(found.items(), key=lambda item: item[1][0].mask_source is not None))


def _all_series(
    groups: Mapping[str, Sequence[Group]],
    *,
    x: Callable[[Group], float],
    y: Callable[[Group], float],
    along: Collection[str],
) -> list[Series]:
    found = []
    for name, records in groups.items():
        chosen = _largest_group(records, x, along)
        if chosen:
            points = _points(chosen, x, y)
            found.append(Series(name=name, points=points, num_left_out=len(records) - len(chosen)))
    return found


def _points(
    records: Sequence[Group], x: Callable[[Group], float], y: Callable[[Group], float]
) -> tuple[SeriesPoint, ...]:
    at: dict[float, dict[int, Group]] = defaultdict(dict)
    for record in records:
        at[round(x(record), 9)][record.seed] = record
    return tuple(
        SeriesPoint(
            x=place,
            values={seed: y(record) for seed, record in sorted(seeded.items())},
            records=tuple(record.run_id for _, record in sorted(seeded.items())),
        )
        for place, seeded in sorted(at.items())
    )


def _largest_group(
    records: Sequence[Group], x: Callable[[Group], float], along: Collection[str]
) -> list[Group]:
    groups: dict[str, list[Group]] = defaultdict(list)
    for record in records:
        groups[_other_settings(record, along)].append(record)
    return max(
        groups.values(),
        key=lambda group: (len({x(item) for item in group}), len(group)),
        default=[],
    )


def _other_settings(record: Record, along: Collection[str]) -> str:
    left_out = {*along, *(_NOT_OF_PATHS if isinstance(record, PathRecord) else _NOT_OF_RUNS)}
    return json.dumps(_without(record.config, left_out), sort_keys=True, default=str)


def _without(config: Mapping[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Leave out settings by dotted name, with all that stands below them, and those that are null.

    Example:
        >>> _without({"a": {"b": 1, "c": 2}, "d": {"e": 3}, "f": None}, {"a.b", "d"})
        {'a': {'c': 2}}
    """
    kept: dict[str, Any] = {}
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if dotted not in names and value is not None:
            is_inner = isinstance(value, Mapping)
            kept[key] = _without(value, names, f"{dotted}.") if is_inner else value
    return kept
