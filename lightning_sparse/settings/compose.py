"""Settings: Hydra composes them, a check against the defaults follows, typed settings leave.

No torch in here: a mistyped setting is answered at once.
"""

import contextlib
import copy
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lightning_sparse.decoding import decoded, plain
from lightning_sparse.errors import UserError
from lightning_sparse.settings import settings_files
from lightning_sparse.settings.batches import with_accumulation
from lightning_sparse.settings.checks import check_ranges, check_types, check_values
from lightning_sparse.settings.images import DataSettings
from lightning_sparse.settings.interpolations import resolve
from lightning_sparse.settings.older_words import in_todays_words
from lightning_sparse.settings.places import is_place, with_literal_place
from lightning_sparse.settings.schema import (
    OPEN,
    check_name,
    fits,
    is_open,
    leaves,
    schema,
    unknown,
)
from lightning_sparse.settings.settings_files import OF_EVERY
from lightning_sparse.settings.shipped import choices, conf_folders
from lightning_sparse.settings.tree import Settings, as_plain

Tree = dict[str, Any]
"""Settings as Hydra has them."""

_GROUPS = (
    "data", "model", "method", "distribution", "lr_schedule", "curve", "logger", "experiment",
)  # fmt: skip

_ARGUMENTS = tuple(f"{place}." for place in OPEN)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where settings come from; `lightning_sparse.settings.variants` makes others from it.

    Attributes:
        words: The command line that composes the same.
        tree: As composed, where what refers to other settings still does.
        of_runs: Its ``path`` and ``curve`` as they are where nothing was said of them, with which
            the runs at the ends of a path are made.
        of_every: What an experiment says of every choice of a group, by group.
    """

    words: tuple[str, ...]
    tree: Tree
    of_runs: Tree
    of_every: Tree


@dataclass(frozen=True, kw_only=True)
class Composed(Settings):
    """Settings that know where they come from, so that others can be made from them.

    Attributes:
        source: It.
    """

    source: Source


def compose_settings(overrides: Sequence[str]) -> Composed:
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
    words = tuple(with_literal_place(_with_null(item)) for item in in_todays_words(overrides))
    source, before = _source(words, conf_folders())
    tree, defaults = resolved(source), resolved(replace(source, tree=before))
    for name, value in leaves(tree):
        check_name(name, value)
    check_types(dict(leaves(tree)), dict(leaves(defaults)))
    return finished(tree, source)


def resolved(source: Source) -> Tree:
    """Return the tree of a source with what was tuned, and the values that it refers to.

    Raises:
        UserError: If there are none.
    """
    with _explained(source.words):
        return resolve(_lengthened(_with_tuned(source)))


def finished(tree: Tree, source: Source) -> Composed:
    """Return the settings that a resolved tree holds, with what follows from several of them.

    Raises:
        UserError: If a value is outside its range.
    """
    check_values(tree)
    settings = decoded(Composed, tree, source=source)
    settings = _with_longer_fit(_as_its_arm_trains(_with_own_learning_rate(settings)))
    check_ranges(settings)
    return replace(settings, trainer=with_accumulation(settings))


def _with_own_learning_rate(settings: Composed) -> Composed:
    """Train at ``run_learning_rate``, which no other run gets: see `plan_training`."""
    rate = settings.run_learning_rate
    if rate is None:
        return settings
    return replace(settings, training=replace(settings.training, learning_rate=rate))


def _as_its_arm_trains(settings: Composed) -> Composed:
    """Train by as many schedules of the learning rate as the arm says."""
    times, training = settings.method.cycles, settings.training
    if times is None:
        return settings
    schedule = {"_target_": _REPEATED, "schedule": training.lr_schedule, "times": times}
    return replace(settings, training=replace(training, lr_schedule=schedule))


_REPEATED = "lightning_sparse.training.lr_schedules.Repeated"


def _with_longer_fit(settings: Composed) -> Composed:
    """Fit a curve for more steps than the experiment's own, to see what a stronger search finds."""
    path = settings.path
    times = path.steps_multiplier
    if times is None:
        return settings
    longer = replace(path.training, num_steps=path.training.num_steps * times)
    return replace(settings, path=replace(path, training=longer))


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
        if is_place(name_of(override)) and name_of(override) not in _SWEPT_PLACES:
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


def with_values(settings: Composed, overrides: Sequence[str]) -> Composed:
    """Compose again with ``overrides`` added to those that ``settings`` came from; the later wins.

    Interpolations follow: ``method=prune`` also picks the pruned arm's learning rate.
    """
    return compose_settings(latest([*settings.source.words, *in_todays_words(overrides)]))


def latest(words: Iterable[str]) -> list[str]:
    """Leave out what is said again later, which takes effect after all that was said before."""
    found: dict[str, str] = {}
    for item in words:
        found.pop(name_of(item), None)
        found[name_of(item)] = item
    return list(found.values())


def as_yaml(settings: Settings | DataSettings) -> str:
    """Return the settings as YAML, for a person to read."""
    said = as_plain(settings) if isinstance(settings, Settings) else plain(settings)
    return yaml.safe_dump(said, sort_keys=False)


def _with_null(override: str) -> str:
    """Write null where Python wrote None, as the agent of W&B does; no text is called so."""
    name, _, value = override.partition("=")
    may_be_null = is_open(name_of(override)) or fits(None, schema().get(name_of(override), int))
    return f"{name}=null" if value == "None" and may_be_null else override


def name_of(override: str) -> str:
    """Return the dotted name that an override is of."""
    name, _, _ = override.partition("=")
    return name.lstrip("+~")


def _group(override: str) -> str:
    """Return the group chosen, which is ``lr_schedule`` in ``lr_schedule@training.lr_schedule``."""
    return name_of(override).partition("@")[0]


@functools.cache
def _source(words: tuple[str, ...], folders: tuple[Path, ...]) -> tuple[Source, Tree]:
    """Compose: Hydra does files and groups once, and its own function the values that are typed.

    Returns:
        The source, and its tree as it was before any value.
    """
    with _explained(words):
        parsed = [_parsed(item) for item in words]
        choosing = [text for text, item in zip(words, parsed, strict=True) if _chooses_a_file(item)]
        config, of_every = _from_hydra(tuple(choosing), folders)
        before, config = _plain(config), copy.deepcopy(config)
        values = [item for item in parsed if not _chooses_a_file(item)]
        # Hydra's own rules for "=", "+", "++" and "~". Only its public `compose` applies them too,
        # to all files read anew: 0.14 s for each of two trees, before and after, of every point of
        # a sweep, where this takes 0.04 s. pyproject.toml holds Hydra to versions that have it.
        ConfigLoaderImpl._apply_overrides_to_config(values, config)  # noqa: SLF001 (its rules)
        tree = _without_arguments_of_others(_plain(config), before, words)
    others = tuple(item for item in words if not is_of_path(item))
    runs = tree if others == words else _source(others, folders)[0].tree
    of_runs = {name: runs[name] for name in _OF_PATH}
    return Source(words=words, tree=tree, of_runs=of_runs, of_every=of_every), before


_OF_PATH = ("path", "curve")


def is_of_path(word: str) -> bool:
    """Whether it says how a path is made, and thus nothing of the runs at its ends."""
    return name_of(word).partition(".")[0] in _OF_PATH


def _with_tuned(source: Source) -> Tree:
    """Give an arm's method the numbers that were tuned for it; what was typed stays."""
    method = source.tree["method"]
    own = source.tree["tuned"]["arguments"].get(method["tuned_as"] or method["name"])
    if own is None:
        return source.tree
    config = OmegaConf.create({"method": method})
    OmegaConf.update(config, "method.sparse_method", own, merge=True)
    for item in map(_parsed, source.words):
        if item.key_or_group.startswith("method.") and not item.is_delete():
            OmegaConf.update(config, item.key_or_group, item.value(), merge=True)
    return {**source.tree, **_plain(config)}


def _lengthened(tree: Tree) -> Tree:
    """Train longer, as RigL's ``training_steps_multiplier`` (Evci et al. 2020) does, and the arm.

    The pruning window moves along, and with it whatever is made of it; so do drops of the learning
    rate that are given in epochs. Warm-ups and ``pruning.update_every`` stay. What decides a run
    are the lengths that come out.
    """
    asked, own = tree["training_steps_multiplier"], tree["method"]["length"]
    if not all(isinstance(times, float | int | None) for times in (asked, own)):
        return tree  # refused with all other types
    if asked is not None and not asked > 0:
        raise UserError(f"training_steps_multiplier={asked}: must be above 0, for example 5")
    times = (1 if asked is None else asked) * (1 if own is None else own)
    if times == 1:
        return tree
    training, pruning = resolve(tree, ["training", "pruning"]).values()
    schedule = tree["training"]["lr_schedule"]
    if "images_per_epoch" in schedule:
        milestones = [epoch * times for epoch in training["lr_schedule"]["milestones"]]
        schedule = {**schedule, "milestones": milestones}
    longer = {"num_steps": round(training["num_steps"] * times), "lr_schedule": schedule}
    window = {name: round(pruning[name] * times) for name in ("start_step", "end_step")}
    return {
        **tree,
        "training": {**tree["training"], **longer},
        "pruning": {**tree["pruning"], **window},
    }


@functools.cache
def _from_hydra(choosing: tuple[str, ...], folders: tuple[Path, ...]) -> tuple[Any, Tree]:
    """Compose files; return the settings, and what they say of every choice of a group."""
    del folders  # where the files are
    GlobalHydra.instance().clear()
    settings_files.register()
    version.setbase("1.3")
    search_path = create_config_search_path("settings://conf")
    Hydra.create_main_hydra2(task_name="lightning-sparse", config_search_path=search_path)
    config = compose("config", overrides=list(choosing))
    of_every = config.get(OF_EVERY) or {}
    with open_dict(config):
        config.pop(OF_EVERY, None)
    return config, _plain(of_every) if of_every else {}


def _plain(config: Any) -> Tree:
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


def _chooses_a_file(override: Override) -> bool:
    return override.key_or_group in _GROUPS and not isinstance(override.value(), dict)


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


@contextlib.contextmanager
def _explained(words: Sequence[str]) -> Iterator[None]:
    try:
        yield
    # The last two are what Hydra raises where a group's choice is a number or a list.
    except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(_explain(error, words)) from error


def _without_arguments_of_others(tree: Tree, before: Tree, words: Sequence[str]) -> Tree:
    """Drop what a chosen file says to its own class where the user has named another class."""
    named = {name_of(word) for word in words}

    def is_kept(group: str, argument: str) -> bool:
        place = f"{group}.{argument}"
        return argument.startswith("_") or any(f"{name}.".startswith(f"{place}.") for name in named)

    return {
        name: {argument: value for argument, value in part.items() if is_kept(name, argument)}
        if name in _GROUPS and part.get("_target_") != before[name].get("_target_")
        else part
        for name, part in tree.items()
    }


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """Say in one line which override is at fault and what was probably meant."""
    # Hydra says that a value could not be set, and its cause says why.
    cause = error.__cause__ if isinstance(error, HydraException) else None
    text, said = " ".join(str(cause or error).split()), " ".join(overrides)
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
        options = ", ".join(
            _nearest_mapping(_source((), conf_folders())[0].tree, interpolation.group(1).split("."))
        )
        return f"{said}: there is no {interpolation.group(1)}; available: {options}"
    return f"cannot use the settings {said}: {text.partition(' Config search path:')[0]}"


def _nearest_mapping(tree: Tree, place: Sequence[str]) -> Tree:
    """Follow names as far as they exist; what was typed may be anything."""
    for name in place:
        if not isinstance(tree.get(name), dict):
            break
        tree = tree[name]
    return tree
