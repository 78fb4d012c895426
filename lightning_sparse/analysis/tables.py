"""Tidy tables of one experiment: every row names the records it comes from.

Losses are in nats, accuracies and sparsities in [0, 1], distances in weight space.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lightning_sparse.analysis.experiment import ExperimentRecords, route_of
from lightning_sparse.analysis.measured_rises import MeasuredRise, measure_rise
from lightning_sparse.analysis.statistics import Interval, t_interval
from lightning_sparse.records import PathRecord, RunRecord

SECOND_DENSE_ARM = "dense, second start"

MEASURES: Mapping[str, Callable[[RunRecord], float]] = {
    "train_loss": lambda run: run.train.loss,
    "train_objective": lambda run: run.train.objective,
    "train_accuracy": lambda run: run.train.accuracy,
    "test_loss": lambda run: run.test.loss,
    "test_accuracy": lambda run: run.test.accuracy,
}


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One measure of one arm at one sparsity, over seeds.

    Attributes:
        arm: As `arm_of` names it.
        target_sparsity: Nominal sparsity.
        measure: A key of `MEASURES`.
        mean: Over the seeds.
        interval: Student t at 95 %; None below two seeds.
        seeds: In increasing order.
        records: Run ids, in the order of the seeds.
    """

    arm: str
    target_sparsity: float
    measure: str
    mean: float
    interval: Interval | None
    seeds: tuple[int, ...]
    records: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PathRow:
    """One path of one seed.

    Attributes:
        record: Its run id.
        name: In words, as in `Route.name`.
        seed: Of both ends.
        target_sparsity: Nominal sparsity of the pruned end; 0 between dense ends.
        start: Point at t = 0.
        end: Point at t = 1.
        degree: 1 line, 2 quadratic, 3 cubic.
        space: ``line``, ``dense`` or ``sparse``.
        loss: Rise, tolerance and barriers of the loss.
        objective: The same of the objective.
        refinement_converged: Whether the last refinement moved the rise by less than 2 %.
        distance: Between the ends.
        length: Of the path.
        fit_objective: Training objective at the end of the search; None for a line.
    """

    record: str
    name: str
    seed: int
    target_sparsity: float
    start: str
    end: str
    degree: int
    space: str
    loss: MeasuredRise
    objective: MeasuredRise
    refinement_converged: bool
    distance: float
    length: float
    fit_objective: float | None


@dataclass(frozen=True, kw_only=True)
class EndpointRow:
    """One trained network.

    Attributes:
        record: Its run id.
        arm: As `arm_of` names it.
        seed: Its seed.
        target_sparsity: Asked for.
        measured_sparsity: Counted.
        kept: Weights that the masks keep.
        prunable: Weights that could be masked.
        measures: By the keys of `MEASURES`.
        distance_from_start: Between its start and its end.
        num_steps: Optimizer steps.
        wall_seconds: Duration of the training.
    """

    record: str
    arm: str
    seed: int
    target_sparsity: float
    measured_sparsity: float
    kept: int
    prunable: int
    measures: Mapping[str, float]
    distance_from_start: float
    num_steps: int
    wall_seconds: float


@dataclass(frozen=True, kw_only=True)
class SparsityRow:
    """How much of one layer is kept at one sparsity; runs with equal counts share a row.

    Attributes:
        target_sparsity: Nominal sparsity of the whole network.
        layer: Its name, or `ALL_LAYERS`.
        kept: Weights that the masks keep.
        prunable: Weights that could be masked.
        sparsity: Fraction that is masked.
        records: Run ids of the masked runs that have these counts.
    """

    target_sparsity: float
    layer: str
    kept: int
    prunable: int
    sparsity: float
    records: tuple[str, ...]


ALL_LAYERS = "all layers"


def arm_of(run: RunRecord) -> str:
    """Name the arm of a run; the dense run from the second start is an arm of its own."""
    is_second = run.method == "dense" and run.start != "init"
    return SECOND_DENSE_ARM if is_second else run.method


def summary_table(experiment: ExperimentRecords) -> list[SummaryRow]:
    """Average every measure over the seeds: one row per arm, sparsity and measure."""
    groups: dict[tuple[str, float], list[RunRecord]] = {}
    for run in sorted(experiment.runs, key=lambda run: run.seed):
        groups.setdefault((arm_of(run), run.target_sparsity), []).append(run)
    return [
        _summary_row(arm, sparsity, measure, groups[arm, sparsity])
        for arm, sparsity in sorted(groups)
        for measure in MEASURES
    ]


def path_table(experiment: ExperimentRecords) -> list[PathRow]:
    """Measure every path; ordered by kind of path, then by sparsity and seed."""
    rows = [_path_row(path) for path in experiment.paths]
    return sorted(
        rows,
        key=lambda row: (row.start, row.end, row.degree, row.space, row.target_sparsity, row.seed),
    )


def endpoint_table(experiment: ExperimentRecords) -> list[EndpointRow]:
    """List every trained network; ordered by sparsity, arm and seed."""
    rows = [
        EndpointRow(
            record=run.run_id,
            arm=arm_of(run),
            seed=run.seed,
            target_sparsity=run.target_sparsity,
            measured_sparsity=run.measured_sparsity,
            kept=run.kept,
            prunable=run.prunable,
            measures={name: measure(run) for name, measure in MEASURES.items()},
            distance_from_start=run.distance_from_start,
            num_steps=run.num_steps,
            wall_seconds=run.wall_seconds,
        )
        for run in experiment.runs
    ]
    return sorted(rows, key=lambda row: (row.target_sparsity, row.arm, row.seed))


def sparsity_table(experiment: ExperimentRecords) -> list[SparsityRow]:
    """Count kept weights per layer and overall, for the masked arms; layers in network order."""
    records: dict[tuple[float, str, int, int], list[str]] = {}
    for run in sorted(experiment.runs, key=lambda run: run.target_sparsity):
        if run.method == "dense":
            continue
        counts = [(name, layer.kept, layer.prunable) for name, layer in run.layers.items()]
        for name, kept, prunable in [*counts, (ALL_LAYERS, run.kept, run.prunable)]:
            records.setdefault((run.target_sparsity, name, kept, prunable), []).append(run.run_id)
    return [
        SparsityRow(
            target_sparsity=target_sparsity,
            layer=layer,
            kept=kept,
            prunable=prunable,
            sparsity=1 - kept / prunable if prunable else 0.0,
            records=tuple(run_ids),
        )
        for (target_sparsity, layer, kept, prunable), run_ids in records.items()
    ]


def _summary_row(arm: str, sparsity: float, measure: str, runs: Sequence[RunRecord]) -> SummaryRow:
    values = [MEASURES[measure](run) for run in runs]
    return SummaryRow(
        arm=arm,
        target_sparsity=sparsity,
        measure=measure,
        mean=statistics.mean(values),
        interval=t_interval(values),
        seeds=tuple(run.seed for run in runs),
        records=tuple(run.run_id for run in runs),
    )


def _path_row(path: PathRecord) -> PathRow:
    route = route_of(path)
    return PathRow(
        record=path.run_id,
        name=route.name,
        seed=path.seed,
        target_sparsity=path.target_sparsity,
        start=path.start,
        end=path.end,
        degree=path.degree,
        space=route.space,
        loss=measure_rise(path, "loss"),
        objective=measure_rise(path, "objective"),
        refinement_converged=path.refinement_converged,
        distance=path.distance,
        length=path.length,
        fit_objective=path.fit_objective,
    )
