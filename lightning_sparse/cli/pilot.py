"""``lightning-sparse pilot``: tune each arm on the pilot seeds by its own objective."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from lightning_sparse.analysis.laboratory import CHOSEN_ON_PILOT
from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.execution.session import make_all, places
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.pipeline.places import AbstractPlaces
from lightning_sparse.planning.pilot import (
    Trial,
    arm_trials,
    curve_trials,
    jobs_of,
    plan_arm,
    plan_curve,
    plan_stage,
)
from lightning_sparse.records import RunRecord
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.variants import one_device_each


def run(settings: Composed) -> None:
    """Run every trial on every pilot seed, print a table, and keep it as JSON Lines.

    Arms come first, since masks that are given and the ends of curves are those of the settings in
    force; adopt the choice of an arm before tuning what builds on it.
    """
    seeds = settings.pilot.seeds
    if set(seeds) & set(settings.reproduce.seeds):
        raise UserError(
            f"pilot.seeds={seeds}: share a seed with reproduce.seeds="
            f"{settings.reproduce.seeds}; pilot seeds must never be reported"
        )
    console = Console()
    at, settings = places(settings, console), one_device_each(settings)
    stages = {
        "arm": (arm_trials(settings), plan_arm),
        "curve": (curve_trials(settings), plan_curve),
    }
    planned = {
        stage: plan_stage(settings, trials, plan) for stage, (trials, plan) in stages.items()
    }
    everything = [job for trials in planned.values() for job in jobs_of(trials)]
    for stage, trials in planned.items():
        console.print(f"pilot, {stage}s:")
        make_trials(trials, at, console, looked_at=everything)
    entries = [
        entry for stage, trials in planned.items() for entry in entries_of(stage, trials, seeds)
    ]
    file = Path(settings.runs_dir) / f"pilot_{settings.experiment_name}.jsonl"
    write_text_atomic(file, "".join(json.dumps(entry) + "\n" for entry in entries))
    _print_table(entries, console)
    for remark in (*edge_remarks(entries), *choices_of_laboratory(entries)):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{file}", markup=False, highlight=False, soft_wrap=True)


def make_trials(
    trials: Sequence[Trial],
    at: AbstractPlaces,
    console: Console,
    *,
    looked_at: Sequence[Job] | None = None,
) -> None:
    """Make every trial; one that leaves the finite numbers is an answer, and the others go on.

    Args:
        trials: What is tried.
        at: Where they go.
        console: Where it is said which came to nothing.
        looked_at: As of `make_all`.

    Raises:
        UserError: If one could not be made for another reason.
    """
    try:
        make_all(jobs_of(trials), at, console, looked_at=looked_at)
    except DivergedError as error:
        console.print(f"counted as worst: {error}", markup=False, soft_wrap=True)


def entries_of(stage: str, planned: Sequence[Trial], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return what each trial of a stage reached, seed by seed; null where nothing."""
    return [
        {
            "stage": stage,
            "tuned": name,
            "overrides": overrides,
            "seeds": seeds,
            "objectives": [objective(job) if job.is_finished else None for job in seeded],
        }
        for name, overrides, seeded in planned
    ]


def best_of(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the overrides with the lowest mean objective, by what was tuned.

    Args:
        entries: Lines of a pilot's file; a trial without an objective came to nothing.

    Raises:
        UserError: If no trial of something came to anything.
    """
    best: dict[str, tuple[float, list[str]]] = {}
    for entry in entries:
        mean = _mean(entry)
        if mean < best.setdefault(entry["tuned"], (math.inf, []))[0]:
            best[entry["tuned"]] = (mean, entry["overrides"])
    if nothing := [name for name, (mean, _) in best.items() if mean == math.inf]:
        raise UserError(f"pilot: no trial of {', '.join(nothing)} was finished; see above")
    return {name: overrides for name, (_, overrides) in best.items()}


def edge_remarks(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name every best rate beyond which nothing was tried: the best may lie further out.

    Args:
        entries: Lines of the pilot's file: what was tuned, by which overrides, to what objectives;
            a trial without one on a seed is worse than any other.
    """
    tried: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        for override in entry["overrides"]:
            name, _, value = override.partition("=")
            if name.startswith("tuned."):
                tried.setdefault(name, []).append((_mean(entry), float(value)))
    remarks = []
    for name, trials in tried.items():
        rates, (lowest, best) = {rate for _, rate in trials}, min(trials)
        if lowest < math.inf and best in {min(rates), max(rates)}:
            remarks.append(
                f"{name}={best:g} is the best and lies at the edge of what was tried "
                f"({', '.join(f'{rate:g}' for rate in sorted(rates))}): try further before it is "
                "adopted, and as many trials for every other"
            )
    return remarks


def choices_of_laboratory(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which control and which detour E1 compares, where all they are chosen from was tuned.

    The lowest mean training objective of each group, every arm at the best of its trials.

    Args:
        entries: As in `edge_remarks`.
    """
    found: dict[str, list[float]] = {}
    for entry in entries:
        if entry["stage"] == "arm" and None not in entry["objectives"]:
            found.setdefault(entry["tuned"], []).append(fmean(entry["objectives"]))
    return [
        f"laboratory.{name}={min(arms, key=lambda arm: min(found[arm]))}: the lowest training "
        f"objective of {', '.join(f'{arm} {min(found[arm]):.4f}' for arm in arms)}, each the best "
        f"of {len(found[arms[0]])} trials, mean over the pilot seeds: adopt it with their rates, "
        "before any report seed"
        for name, arms in CHOSEN_ON_PILOT.items()
        if found.keys() >= {*arms} and len({len(found[arm]) for arm in arms}) == 1
    ]


def objective(job: Job) -> float:
    """Read the training objective that a trial reached: of the run's end, or of the curve's fit."""
    record = job.record()
    if isinstance(record, RunRecord):
        return record.train.objective
    assert record.fit_objective is not None
    return record.fit_objective


def _mean(entry: Mapping[str, Any]) -> float:
    """Return the mean objective of a trial, infinity if it came to nothing on a seed."""
    objectives = entry["objectives"]
    return math.inf if None in objectives else fmean(objectives)


def _print_table(entries: Sequence[dict[str, Any]], console: Console) -> None:
    best: dict[tuple[str, str], float] = {}
    for entry in entries:
        group = (entry["stage"], entry["tuned"])
        best[group] = min(_mean(entry), best.get(group, math.inf))
    for entry in entries:
        mean = _mean(entry)
        is_best = mean == best[entry["stage"], entry["tuned"]] < math.inf
        mark = "  <- lowest" if is_best else ""
        values = " ".join(
            "nothing" if value is None else f"{value:.4f}" for value in entry["objectives"]
        )
        console.print(
            f"{' '.join(entry['overrides'])}: objective {mean:.4f} ({values}){mark}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
