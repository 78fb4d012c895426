"""Collects one number per seed from records, and says what is missing; shared by the claims."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from lightning_sparse.analysis.claim import Evidence
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import MeasuredRise, measure_rise
from lightning_sparse.records import PathRecord, Record, RunRecord

_Recorded = TypeVar("_Recorded", RunRecord, PathRecord)


def path_evidence(
    experiment: ExperimentRecords,
    routes: Sequence[Route],
    statistic: Callable[[Sequence[MeasuredRise]], float],
    *,
    sparsity: float,
    counts_reversed_ends: bool = False,
) -> Evidence:
    """Compute ``statistic`` of the rises along ``routes``, once per seed.

    Args:
        experiment: All records.
        routes: Paths that are compared within a seed.
        statistic: Takes their rises in the order of ``routes``.
        sparsity: Nominal sparsity of the paths.
        counts_reversed_ends: Whether to remark in how many seeds the first route ends worse than
            it starts.
    """
    found = {
        seed: [experiment.path(route, seed, sparsity) for route in routes]
        for seed in experiment.seeds
    }
    paths = {seed: present for seed, items in found.items() if (present := complete(items))}
    on_loss = {seed: [measure_rise(path) for path in items] for seed, items in paths.items()}
    remarks = _refinement_remarks([path for items in paths.values() for path in items])
    if counts_reversed_ends:
        remarks += _reversal_remarks([rises[0] for rises in on_loss.values()])
    return Evidence(
        values={seed: statistic(rises) for seed, rises in on_loss.items()},
        on_objective={
            seed: statistic([measure_rise(path, "objective") for path in items])
            for seed, items in paths.items()
        },
        records=[path.run_id for items in paths.values() for path in items],
        missing=missing_words([experiment.label(route, sparsity) for route in routes], found),
        remarks=remarks,
    )


def run_evidence(
    experiment: ExperimentRecords,
    points: Sequence[str],
    difference: Callable[..., float],
    *,
    sparsity: float,
    on_objective: Callable[..., float] | None = None,
) -> Evidence:
    """Compute ``difference`` of the runs that the points belong to, once per seed."""
    found = {
        seed: [experiment.run(point, seed, sparsity) for point in points]
        for seed in experiment.seeds
    }
    runs = {seed: present for seed, items in found.items() if (present := complete(items))}
    return Evidence(
        values={seed: difference(*items) for seed, items in runs.items()},
        on_objective={
            seed: on_objective(*items) for seed, items in runs.items() if on_objective is not None
        },
        records=[run.run_id for items in runs.values() for run in items],
        missing=missing_words([f"{point} at sparsity {sparsity:g}" for point in points], found),
    )


def log_rise_over_tolerance(rises: Sequence[MeasuredRise]) -> float:
    """Return log(max(M, tol / 2) / tol) of one path; negative when the rise does not count."""
    (rise,) = rises
    return math.log(rise.floored / rise.tolerance)


def log_rise_ratio(rises: Sequence[MeasuredRise]) -> float:
    """Return the log of the first rise over the second; both floored at the same half tolerance.

    The floor is half of the *larger* tolerance of the two paths. With a floor of its own for each
    path, two rises that are both too small to count would differ by the ratio of their tolerances,
    seed after seed in the same direction, and the claim would be supported by nothing.
    """
    first, second = rises
    floor = max(first.tolerance, second.tolerance) / 2
    return math.log(max(first.rise.value, floor) / max(second.rise.value, floor))


def log_curve_over_line(rises: Sequence[MeasuredRise]) -> float:
    """Return log of the curve's floored rise over the larger of its tol and 10 % of the line's.

    Takes the curve first, the line second.
    """
    curve, line = rises
    return math.log(curve.floored / max(curve.tolerance, 0.1 * line.rise.value))


def complete(items: Sequence[_Recorded | None]) -> list[_Recorded]:
    """Return the items if none is missing, else nothing."""
    present = [item for item in items if item is not None]
    return present if len(present) == len(items) else []


def missing_words(names: Sequence[str], found: Mapping[int, Sequence[Record | None]]) -> list[str]:
    """Say of which seeds what is missing; ``found`` has the items in the order of ``names``."""
    missing = []
    for position, name in enumerate(names):
        seeds = [str(seed) for seed, items in found.items() if items[position] is None]
        if seeds:
            missing.append(f"{name} of seed {', '.join(seeds)}")
    return missing


def _refinement_remarks(paths: Sequence[PathRecord]) -> list[str]:
    count = sum(not path.refinement_converged for path in paths)
    if not count:
        return []
    return [f"largest rise not refined to 2 % on {count} of {len(paths)} paths"]


def _reversal_remarks(rises: Sequence[MeasuredRise]) -> list[str]:
    count = sum(rise.ends_are_reversed for rise in rises)
    return [f"ends reversed (worse at t = 1) in {count} of {len(rises)} seeds"] if count else []
