"""Composed made from others in Python: another seed, arm, curve or length. Nothing is composed.

What refers to a changed setting follows it, as it does where Hydra composes.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from lightning_sparse.errors import UserError
from lightning_sparse.settings.batches import gpus_of, num_nodes
from lightning_sparse.settings.compose import (
    Composed,
    Source,
    finished,
    is_of_path,
    latest,
    name_of,
    resolved,
)
from lightning_sparse.settings.places import word
from lightning_sparse.settings.schema import check_name, check_type, unknown
from lightning_sparse.settings.settings_files import complete_choice
from lightning_sparse.settings.shipped import conf_folders

_MADE: dict[tuple[tuple[str, ...], tuple[Path, ...]], Composed] = {}


def replaced(settings: Composed, values: Mapping[str, Any]) -> Composed:
    """Return the settings with other values, by dotted name.

    Raises:
        UserError: If there is no such setting, or a value does not fit.

    Example:
        >>> from lightning_sparse.settings.compose import compose_settings
        >>> settings = replaced(compose_settings(["method=prune"]), {"sparsity": 0.5})
        >>> settings.method.sparse_method["sparsity"]
        0.5
    """
    return _made(_with(settings.source, values))


def with_arm(settings: Composed, name: str, values: Mapping[str, Any] | None = None) -> Composed:
    """Return the settings of another arm, without what was said of the first.

    Args:
        settings: As composed.
        name: ``prune``, for example.
        values: Whatever else is changed.
    """
    source = settings.source
    if name == settings.method.name:
        source = replace(source, words=tuple(latest([*source.words, f"method={name}"])))
    else:
        source = _choosing(source, "method", name)
    return _made(_with(source, values or {}))


def with_curve(settings: Composed, name: str, values: Mapping[str, Any] | None = None) -> Composed:
    """Return the settings with another file of ``conf/curve/``, without what was said of the first.

    Args:
        settings: As composed.
        name: ``line``, for example.
        values: Whatever else is changed.
    """
    return _made(_with(_choosing(settings.source, "curve", name), values or {}))


def one_device_each(settings: Composed) -> Composed:
    """Let every run have one of the GPUs, if runs are small: no recipe counts on all of them.

    Where ``global_batch_size`` fixes the images of a step, devices share them. Otherwise one device
    is enough for a run, and several devices take several runs.
    """
    trainer = settings.trainer
    is_small = settings.global_batch_size is None and num_nodes(trainer) == 1
    if not is_small or gpus_of(trainer) in {None, 1}:
        return settings
    return replaced(settings, {"trainer.devices": 1})


def of_runs(settings: Composed) -> Composed:
    """Return the settings of the runs at the ends of a path, of which a path says nothing."""
    source = settings.source
    words = tuple(item for item in source.words if not is_of_path(item))
    return _made(replace(source, words=words, tree={**source.tree, **source.of_runs}))


def choice_in(source: Source, group: str, name: str) -> dict[str, Any]:
    """Return what a file of a group says, and an experiment of every choice of that group.

    Raises:
        UserError: If there is no such file, or it is wrong.
    """
    said = complete_choice(f"{group}/{name}")
    if not (of_every := source.of_every.get(group)):
        return said
    joined = OmegaConf.merge(OmegaConf.create(said), OmegaConf.create(of_every))
    return cast("dict[str, Any]", OmegaConf.to_container(joined, resolve=False))


def _choosing(source: Source, group: str, name: str) -> Source:
    words = [item for item in source.words if name_of(item).partition(".")[0] != group]
    tree = {**source.tree, group: choice_in(source, group, name)}
    return replace(source, words=(*words, f"{group}={name}"), tree=tree)


def _with(source: Source, values: Mapping[str, Any]) -> Source:
    tree = source.tree
    for name, value in values.items():
        check_name(name, value)
        tree = _changed(tree, name.split("."), value, name)
    words = latest([*source.words, *(word(name, value) for name, value in values.items())])
    return replace(source, words=tuple(words), tree=tree)


def _changed(tree: Any, place: list[str], value: Any, name: str) -> dict[str, Any]:
    """Return a copy of the tree with one value changed; what is beside it stays the same object."""
    first, *others = place
    if not isinstance(tree, dict) or first not in tree:
        raise UserError(unknown(name))
    if others:
        return {**tree, first: _changed(tree[first], others, value, name)}
    check_type(name, value, tree[first])
    return {**tree, first: value}


def _made(source: Source) -> Composed:
    key = (source.words, conf_folders())
    if key not in _MADE:
        _MADE[key] = finished(resolved(source), source)
    return _MADE[key]
