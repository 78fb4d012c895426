"""What is tried on the pilot seeds, as much for one arm as for another. No torch in here."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.needs import arms_of, ordered
from lightning_sparse.errors import UserError
from lightning_sparse.planning.reproduce import asked, curve_file
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import Composed, with_values
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.schema import leaves
from lightning_sparse.settings.settings_files import read_choice
from lightning_sparse.settings.variants import with_arm, with_curve

Trials = dict[str, list[list[str]]]


Plan = Callable[[Composed, str, Sequence[str]], Job]


Trial = tuple[str, list[str], list[Job]]
"""What is tuned, by which overrides, and the job of each seed."""


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
