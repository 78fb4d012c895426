"""``lightning-sparse pilot``: tune each arm on the pilot seeds by its own objective."""

import functools
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.needs import arms_of, ordered
from lightning_sparse.cli.arms import arms
from lightning_sparse.cli.compose import Composed, with_values
from lightning_sparse.cli.planning import plan_path, plan_training
from lightning_sparse.cli.report import asked
from lightning_sparse.cli.reproduce import curve_file
from lightning_sparse.cli.schema import leaves
from lightning_sparse.cli.session import one_device_each, places
from lightning_sparse.cli.settings_files import read_choice
from lightning_sparse.cli.variants import with_arm, with_curve
from lightning_sparse.cli.worker import look_at, run_job
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import Job
from lightning_sparse.pipeline.runner import run_jobs
from lightning_sparse.records import RunRecord
from lightning_sparse.storage import write_text_atomic

Trials = dict[str, list[list[str]]]
Plan = Callable[[Composed, str, Sequence[str]], Job]
Trial = tuple[str, list[str], list[Job]]
"""What is tuned, by which overrides, and the job of each seed."""


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
    look = functools.partial(
        look_at, [job for trials in planned.values() for job in jobs_of(trials)]
    )
    for stage, trials in planned.items():
        console.print(f"pilot, {stage}s:")
        run_jobs(jobs_of(trials), run_job, places=at, console=console, first=look)
    entries = [
        entry for stage, trials in planned.items() for entry in entries_of(stage, trials, seeds)
    ]
    file = Path(settings.runs_dir) / f"pilot_{settings.experiment_name}.jsonl"
    write_text_atomic(file, "".join(json.dumps(entry) + "\n" for entry in entries))
    _print_table(entries, console)
    for remark in edge_remarks(entries):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{file}", markup=False, highlight=False, soft_wrap=True)


def plan_stage(settings: Composed, trials: Trials, plan: Plan) -> list[Trial]:
    """Plan every trial on every pilot seed."""
    seeds = settings.pilot.seeds
    return [
        (name, overrides, [plan(settings, name, [f"seed={seed}", *overrides]) for seed in seeds])
        for name, choices in trials.items()
        for overrides in choices
    ]


def jobs_of(planned: Sequence[Trial]) -> list[Job]:
    """Return the jobs of all trials."""
    return [job for _, _, seeded in planned for job in seeded]


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


def arm_trials(settings: Composed) -> Trials:
    """Return, per arm, the overrides of each trial: as many for one arm as for another."""
    unmasked = [name for name, arm in arms(settings).items() if not arm.is_masked]
    of_claims = itertools.chain(*arms_of(asked(settings).needs, unmasked))
    return trials_of(settings, settings.pilot.arms or of_claims)


def trials_of(settings: Composed, names: Iterable[str]) -> Trials:
    """Return the overrides of each trial of the named arms that have something to be tuned.

    An arm that repeats another, or takes what is tuned of it, or has a rate of its own, has not.
    """
    known = arms(settings)
    trials = {
        name: _trials_of(settings, name)
        for name in names
        if name not in known or not (known[name].repeats or _is_settled(name))
    }
    _require_equal_numbers(trials)
    return trials


def best_of(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the overrides with the lowest mean objective, by what was tuned.

    Args:
        entries: Lines of a pilot's file; a trial without an objective came to nothing.

    Raises:
        UserError: If no trial of something came to anything.
    """
    best: dict[str, tuple[float, list[str]]] = {}
    for entry in entries:
        objectives = entry["objectives"]
        mean = math.inf if None in objectives else fmean(objectives)
        if mean < best.setdefault(entry["tuned"], (math.inf, []))[0]:
            best[entry["tuned"]] = (mean, entry["overrides"])
    if nothing := [name for name, (mean, _) in best.items() if mean == math.inf]:
        raise UserError(f"pilot: no trial of {', '.join(nothing)} was finished; see above")
    return {name: overrides for name, (_, overrides) in best.items()}


def curve_trials(settings: Composed) -> Trials:
    """Return, per space, the overrides of each trial; none where arms are named."""
    if settings.pilot.arms:
        return {}
    rates = settings.pilot.path_learning_rates
    trials = {
        space: [[f"tuned.path_learning_rate.{space}={rate}"] for rate in rates]
        for space in _tuned_curves(settings)
    }
    _require_equal_numbers(trials)
    return trials


def edge_remarks(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name every best rate beyond which nothing was tried: the best may lie further out.

    Args:
        entries: Lines of the pilot's file: what was tuned, by which overrides, to what objectives.
    """
    tried: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        for override in entry["overrides"]:
            name, _, value = override.partition("=")
            if name.startswith("tuned."):
                tried.setdefault(name, []).append((fmean(entry["objectives"]), float(value)))
    remarks = []
    for name, trials in tried.items():
        rates, best = {rate for _, rate in trials}, min(trials)[1]
        if best in {min(rates), max(rates)}:
            remarks.append(
                f"{name}={best:g} is the best and lies at the edge of what was tried "
                f"({', '.join(f'{rate:g}' for rate in sorted(rates))}): try further before it is "
                "adopted, and as many trials for every other"
            )
    return remarks


def objective(job: Job) -> float:
    """Read the training objective that a trial reached: of the run's end, or of the curve's fit."""
    record = job.record()
    if isinstance(record, RunRecord):
        return record.train.objective
    assert record.fit_objective is not None
    return record.fit_objective


def plan_arm(settings: Composed, method: str, overrides: Sequence[str]) -> Job:
    """Plan the run of one arm."""
    return plan_training(with_values(with_arm(settings, method), overrides))


def plan_curve(settings: Composed, space: str, overrides: Sequence[str]) -> Job:
    """Plan the curve that learning rates in a space are tuned on."""
    route = _tuned_curves(settings)[space]
    ends = {"path.start": route.start, "path.end": route.end, "path.space": space}
    curve = with_curve(settings, curve_file(settings, route), ends)
    return plan_path(with_values(curve, overrides))


def _tuned_curves(settings: Composed) -> dict[str, Route]:
    """Return the first curve of the claims in each space that they have curves in."""
    fitted = [route for route in ordered(asked(settings).needs) if route.is_fitted]
    spaces = {"sparse": "end_mask", "dense": "dense"}
    first: dict[str, Route] = {}
    for route in fitted:
        first.setdefault(spaces[route.space], route)
    return first


def _trials_of(settings: Composed, arm: str) -> list[list[str]]:
    own = with_arm(settings, arm).method.trials
    if own is None:
        rates = settings.pilot.learning_rates
        own = [{"learning_rate": rate} for rate in rates]
        if (number := settings.pilot.numbers.get(arm)) is not None:
            middle = {"learning_rate": rates[len(rates) // 2]}
            return [
                *(_overrides_of(trial, arm) for trial in own[1:]),
                [*_overrides_of(middle, arm), f"tuned.arguments.{arm}={_in_words(number)}"],
            ]
    return [_overrides_of(trial, arm) for trial in own]


def _is_settled(arm: str) -> bool:
    """Whether its file says at which rate it is trained, or with whose."""
    said = read_choice(f"method/{arm}")
    return bool(said.get("tuned_as") or said.get("learning_rate"))


def _in_words(number: Any) -> str:
    """Write a mapping as Hydra's overrides have it.

    Example:
        >>> _in_words({"swaps": {"drop_fraction": 0.5}})
        '{swaps:{drop_fraction:0.5}}'
    """
    if not isinstance(number, Mapping):
        return json.dumps(number)
    return f"{{{','.join(f'{name}:{_in_words(value)}' for name, value in number.items())}}}"


def _overrides_of(trial: Mapping[str, Any], arm: str) -> list[str]:
    if "learning_rate" not in trial:
        raise UserError(f"method={arm}: trials: {trial} needs a learning_rate, as every trial does")
    others = {name: value for name, value in trial.items() if name != "learning_rate"}
    return [
        f"tuned.learning_rate.{arm}={trial['learning_rate']}",
        *(f"{name}={value}" for name, value in leaves(others)),
    ]


def _require_equal_numbers(trials: Trials) -> None:
    numbers = {name: len(choices) for name, choices in trials.items()}
    if len(set(numbers.values())) > 1:
        raise UserError(f"pilot: every arm must get as many trials as the others, not {numbers}")


def _print_table(entries: Sequence[dict[str, Any]], console: Console) -> None:
    best: dict[tuple[str, str], float] = {}
    for entry in entries:
        group = (entry["stage"], entry["tuned"])
        best[group] = min(fmean(entry["objectives"]), best.get(group, math.inf))
    for entry in entries:
        mean = fmean(entry["objectives"])
        mark = "  <- lowest" if mean == best[entry["stage"], entry["tuned"]] else ""
        values = " ".join(f"{value:.4f}" for value in entry["objectives"])
        console.print(
            f"{' '.join(entry['overrides'])}: objective {mean:.4f} ({values}){mark}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
