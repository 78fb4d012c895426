"""What a record is in a tracker: numbers by name, and a path's points as a table. No tracker here.

Names are ``section/quantity``, by which W&B groups its panels.
"""

from collections.abc import Mapping
from typing import Any

from lightning_sparse.records import Evaluation, PathRecord, Record, RunRecord
from lightning_sparse.rises import barriers, descent, largest_rise

CURVE_COLUMNS = (
    "t",
    "train_loss",
    "train_objective",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
)


def metrics(entry: Mapping[str, Any]) -> dict[str, float]:
    """Flatten a line of history.

    Example:
        >>> metrics({"step": 3, "batch_loss": 0.5, "layer_sparsity": {"fc.weight": 0.9}})
        {'train/batch_loss': 0.5, 'layer_sparsity/fc.weight': 0.9}
    """
    flat: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{part}": number for part, number in value.items()}
        elif name != "step":
            flat[f"train/{name}"] = value
    return flat


def summary(record: Record) -> dict[str, float | int | None]:
    """Return the numbers that a run or a path is compared by."""
    return _path_summary(record) if isinstance(record, PathRecord) else _run_summary(record)


def curve_rows(path: PathRecord) -> list[list[float]]:
    """Return one row of `CURVE_COLUMNS` for each point, in increasing t."""
    return [
        [
            point.t,
            point.train.loss,
            point.train.objective,
            point.train.accuracy,
            point.test.loss,
            point.test.accuracy,
        ]
        for point in path.points
    ]


def _run_summary(run: RunRecord) -> dict[str, float | int | None]:
    return {
        **_evaluation("train", run.train),
        **_evaluation("test", run.test),
        "end/target_sparsity": run.target_sparsity,
        "end/measured_sparsity": run.measured_sparsity,
        "end/kept_weights": run.kept,
        "end/prunable_weights": run.prunable,
        "end/distance_from_start": run.distance_from_start,
        "end/wall_seconds": run.wall_seconds,
    }


def _evaluation(name: str, evaluation: Evaluation) -> dict[str, float | int | None]:
    return {
        f"end/{name}_loss": evaluation.loss,
        f"end/{name}_objective": evaluation.objective,
        f"end/{name}_accuracy": evaluation.accuracy,
    }


def _path_summary(path: PathRecord) -> dict[str, float | int | None]:
    ts = [point.t for point in path.points]
    losses = [point.train.loss for point in path.points]
    rise, over = largest_rise(ts, losses), barriers(ts, losses)
    return {
        "path/descent": descent(ts, losses).value,
        "path/largest_rise": rise.value,
        "path/rise_from_t": rise.from_t,
        "path/rise_to_t": rise.to_t,
        "path/barrier_over_chord": over.chord,
        "path/barrier_over_mean_of_ends": over.mean_of_ends,
        "path/barrier_over_worse_end": over.worse_end,
        "path/length": path.length,
        "path/distance": path.distance,
        "path/fit_objective": path.fit_objective,
        "path/target_sparsity": path.target_sparsity,
        "path/wall_seconds": path.wall_seconds,
    }
