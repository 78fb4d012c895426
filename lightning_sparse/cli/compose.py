"""Settings: Hydra composes them, a check against the defaults follows, plain dictionaries leave.

No torch in here: a mistyped setting is answered at once.
"""

import copy
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_sparse.cli import settings_files
from lightning_sparse.cli.batches import with_accumulation
from lightning_sparse.cli.checks import check_ranges, check_types
from lightning_sparse.cli.older_words import in_todays_words
from lightning_sparse.cli.places import is_place, with_literal_place
from lightning_sparse.cli.schema import OPEN, check_name, fits, is_open, leaves, schema, unknown
from lightning_sparse.cli.shipped import choices, conf_folders
from lightning_sparse.errors import UserError

Settings = dict[str, Any]

_GROUPS = (
    "data", "model", "method", "distribution", "lr_schedule", "curve", "logger", "experiment",
)  # fmt: skip

_ARGUMENTS = tuple(f"{place}." for place in OPEN)


def compose_settings(overrides: Sequence[str]) -> Settings:
    """Compose, resolve and check the settings that ``overrides`` ask for.

    Args:
        overrides: Hydra overrides, for example ``["method=prune", "seed=3"]``.

    Raises:
        UserError: If an override is not understood, names no setting, or has the wrong type.
    """
    for override in overrides:
        if override.startswith("-"):
            raise UserError(
                f"unknown option {override!r}; `lightning-sparse --help` lists options and verbs, "
                "and settings are written name=value"
            )
        if "=" not in override:
            raise UserError(f"{override!r} is no setting; write name=value, for example seed=21")
    overrides = [with_literal_place(_with_null(item)) for item in in_todays_words(overrides)]
    defaults = _composed(tuple(item for item in overrides if _group(item) in _GROUPS))
    settings = _without_arguments_of_others(_composed(tuple(overrides)), defaults, overrides)
    for name, value in leaves(settings):
        check_name(name, value)
    check_types(dict(leaves(settings)), dict(leaves(defaults)))
    settings = _with_longer_fit(_as_its_arm_trains(_with_own_learning_rate(settings)))
    check_ranges(settings)
    settings["trainer"] = with_accumulation(settings)
    return {**settings, "overrides": list(overrides)}


def _with_own_learning_rate(settings: Settings) -> Settings:
    """Train at ``run_learning_rate``, which no other run gets: see `planning.plan_sources`."""
    rate = settings["run_learning_rate"]
    if rate is None:
        return settings
    return {**settings, "training": {**settings["training"], "learning_rate": rate}}


def _as_its_arm_trains(settings: Settings) -> Settings:
    """Train by as many schedules of the learning rate as the arm says."""
    times, training = settings["method"]["cycles"], settings["training"]
    if times is None:
        return settings
    schedule = {"_target_": _REPEATED, "schedule": training["lr_schedule"], "times": times}
    return {**settings, "training": {**training, "lr_schedule": schedule}}


_REPEATED = "lightning_sparse.training.lr_schedules.Repeated"


def _with_longer_fit(settings: Settings) -> Settings:
    """Fit a curve for more steps than the experiment's own, to see what a stronger search finds."""
    path = settings["path"]
    times = path["steps_multiplier"]
    if times is None:
        return settings
    num_steps = path["training"]["num_steps"] * times
    longer = {**path, "training": {**path["training"], "num_steps": num_steps}}
    return {**settings, "path": longer}


def without_sweeps(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell overrides with one value from those with several, which Hydra's multirun expands.

    What cannot be read has one value: composing says why it cannot.

    Example:
        >>> without_sweeps(["method=dense,prune", "seed=21", "sparsity=choice(0.8,0.9)"])
        (['seed=21'], ['method=dense,prune', 'sparsity=choice(0.8,0.9)'])
    """
    single: list[str] = []
    swept: list[str] = []
    for override in overrides:
        if is_place(_name(override)) and _name(override) not in _SWEPT_PLACES:
            single.append(override)
            continue
        try:
            is_swept = OverridesParser.create().parse_override(override).is_sweep_override()
        except (HydraException, ValueError):
            is_swept = False
        (swept if is_swept else single).append(override)
    return single, swept


# Places that several points of a sweep may differ in.
_SWEPT_PLACES = ("path.start", "path.end", "mask_source")


def with_values(settings: Settings, overrides: Sequence[str]) -> Settings:
    """Compose again with ``overrides`` added to those that ``settings`` came from; the later wins.

    Interpolations follow: ``method=prune`` also picks the pruned arm's learning rate.
    """
    latest: dict[str, str] = {}
    for item in [*settings["overrides"], *in_todays_words(overrides)]:
        # Removed first: what is said again takes effect after all that was said before.
        latest.pop(_name(item), None)
        latest[_name(item)] = item
    return compose_settings(list(latest.values()))


def with_curve(settings: Settings, choice: str, overrides: Sequence[str] = ()) -> Settings:
    """Compose again with another file of ``conf/curve/``, and none of what was said of the first.

    Args:
        settings: As composed.
        choice: ``line``, for example.
        overrides: Whatever else is added.
    """
    others = [item for item in settings["overrides"] if _name(item).partition(".")[0] != "curve"]
    return with_values({**settings, "overrides": others}, [f"curve={choice}", *overrides])


def with_arm(settings: Settings, name: str, overrides: Sequence[str] = ()) -> Settings:
    """Compose again as another arm, and with none of what was said of the first.

    Args:
        settings: As composed.
        name: ``prune``, for example.
        overrides: Whatever else is added.
    """
    others = [
        item
        for item in settings["overrides"]
        if name == settings["method"]["name"] or _name(item).partition(".")[0] != "method"
    ]
    return with_values({**settings, "overrides": others}, [f"method={name}", *overrides])


def as_yaml(settings: Settings) -> str:
    """Return the settings as YAML, for a person to read."""
    shown = {name: value for name, value in settings.items() if name != "overrides"}
    return yaml.safe_dump(shown, sort_keys=False)


def _with_null(override: str) -> str:
    """Write null where Python wrote None, as the agent of W&B does; no text is called so."""
    name, _, value = override.partition("=")
    may_be_null = is_open(_name(override)) or fits(None, schema().get(_name(override), int))
    return f"{name}=null" if value == "None" and may_be_null else override


def _name(override: str) -> str:
    name, _, _ = override.partition("=")
    return name.lstrip("+~")


def _group(override: str) -> str:
    """Return the group chosen, which is ``lr_schedule`` in ``lr_schedule@training.lr_schedule``."""
    return _name(override).partition("@")[0]


def _composed(overrides: tuple[str, ...]) -> Settings:
    return copy.deepcopy(_resolved(overrides, conf_folders()))


@functools.cache
def _resolved(overrides: tuple[str, ...], folders: tuple[Path, ...]) -> Settings:
    """Compose: Hydra does files and groups, and plain values follow in the way it would do it.

    Hydra reads every file again at each composition, which takes a tenth of a second, and planning
    an experiment composes hundreds of times. What ``folders`` hold is read once.
    """
    try:
        parsed = [_parsed(item) for item in overrides]
        num_for_hydra = 1 + max((n for n, item in enumerate(parsed) if _adds(item)), default=-1)
        for_hydra = [
            text
            for number, (text, item) in enumerate(zip(overrides, parsed, strict=True))
            if number < num_for_hydra or item.key_or_group in _GROUPS
        ]
        config = copy.deepcopy(_from_hydra(tuple(for_hydra), folders))
        for item in parsed[num_for_hydra:]:
            if item.key_or_group not in _GROUPS:
                OmegaConf.update(config, item.key_or_group, item.value(), merge=True)
        _adopt_tuned_(config, parsed)
        _lengthen_(config)
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    # The last two are what Hydra raises where a group's choice is a number or a list.
    except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(_explain(error, overrides)) from error
    assert isinstance(resolved, dict)
    return {str(name): value for name, value in resolved.items()}


def _adopt_tuned_(config: Any, typed: Sequence[Override]) -> None:
    """Give an arm's method the numbers that were tuned for it; what was typed stays."""
    arm = config.method.tuned_as or config.method.name
    if (own := config.tuned.arguments.get(arm)) is not None:
        OmegaConf.update(config, "method.sparse_method", own, merge=True)
        for item in typed:
            if item.key_or_group.startswith("method.") and not item.is_delete():
                OmegaConf.update(config, item.key_or_group, item.value(), merge=True)


def _lengthen_(config: Any) -> None:
    """Train longer, as RigL's ``training_steps_multiplier`` (Evci et al. 2020) does, and the arm.

    The pruning window moves along, and with it whatever is made of it; so do drops of the learning
    rate that are given in epochs. Warm-ups and ``pruning.update_every`` stay. What decides a run
    are the lengths that come out.
    """
    asked, own = config.training_steps_multiplier, config.method.length
    if not all(isinstance(times, float | int | None) for times in (asked, own)):
        return  # refused with all other types
    if asked is not None and not asked > 0:
        raise UserError(f"training_steps_multiplier={asked}: must be above 0, for example 5")
    times = (1 if asked is None else asked) * (1 if own is None else own)
    if times == 1:
        return
    schedule = config.training.lr_schedule
    if "images_per_epoch" in schedule:
        schedule.milestones = [epoch * times for epoch in schedule.milestones]
    config.training.num_steps = round(config.training.num_steps * times)
    for name in ("start_step", "end_step"):
        config.pruning[name] = round(config.pruning[name] * times)


@functools.cache
def _from_hydra(overrides: tuple[str, ...], folders: tuple[Path, ...]) -> Any:  # noqa: ARG001
    GlobalHydra.instance().clear()
    settings_files.register()
    version.setbase("1.3")
    search_path = create_config_search_path("settings://conf")
    Hydra.create_main_hydra2(task_name="lightning-sparse", config_search_path=search_path)
    return compose("config", overrides=list(overrides))


@functools.cache
def _parsed(override: str) -> Override:
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.key_or_group:
        raise UserError(f"{override!r}: names no setting; write name=value, for example seed=21")
    if parsed.is_sweep_override():
        raise UserError(
            f"{override}: is a sweep; give one value, lists are written [1,2,3]; or run all of "
            "them with the verb multirun"
        )
    if parsed.is_delete() and not parsed.key_or_group.startswith(_ARGUMENTS):
        raise UserError(f"{override}: removes a setting that is needed; give it another value")
    return parsed


def _adds(override: Override) -> bool:
    """Whether an override adds or removes a name, which is left to Hydra, as is all before it."""
    return bool(override.is_add() or override.is_force_add() or override.is_delete())


def _without_arguments_of_others(
    settings: Settings, defaults: Settings, overrides: Sequence[str]
) -> Settings:
    """Drop what a chosen file says to its own class where the user has named another class."""
    named = {_name(override) for override in overrides}

    def is_kept(group: str, argument: str) -> bool:
        place = f"{group}.{argument}"
        return argument.startswith("_") or any(f"{name}.".startswith(f"{place}.") for name in named)

    kept = {
        name: {argument: value for argument, value in part.items() if is_kept(name, argument)}
        if name in _GROUPS and part.get("_target_") != defaults[name].get("_target_")
        else part
        for name, part in settings.items()
    }
    sparse_method = settings["method"]["sparse_method"]
    # A method that has a distribution has a copy of it.
    if sparse_method.get("distribution") != settings["distribution"]:
        return kept
    sparse_method = {**sparse_method, "distribution": kept["distribution"]}
    return {**kept, "method": {**kept["method"], "sparse_method": sparse_method}}


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """Say in one line which override is at fault and what was probably meant."""
    text, said = " ".join(str(error).split()), " ".join(overrides)
    found = re.search(r"Key '([^']+)' is not in struct.*?full_key: ([\w.]+)", text)
    if found:
        return unknown(found.group(2))
    choice = re.search(r"Could not find '([^'/]+)/([^'/]+)'", text)
    if choice and choice.group(1) in _GROUPS:
        group = choice.group(1)
        options = ", ".join(choices(group))
        # Where it was not typed, a file has it.
        typed = group in map(_group, overrides)
        place = "" if typed else f"{said}, of which a file names "
        return f"{place}{group}={choice.group(2)}: no such choice; available: {options}"
    interpolation = re.search(r"Interpolation key '([^']+)' not found", text)
    if interpolation:
        options = ", ".join(_nearest_mapping(_composed(()), interpolation.group(1).split(".")))
        return f"{said}: there is no {interpolation.group(1)}; available: {options}"
    return f"cannot use the settings {said}: {text.partition(' Config search path:')[0]}"


def _nearest_mapping(settings: Settings, place: Sequence[str]) -> Settings:
    """Follow names as far as they exist; what was typed may be anything."""
    for name in place:
        if not isinstance(settings.get(name), dict):
            break
        settings = settings[name]
    return settings
