"""Trees of dataclasses from plain mappings, and back, field by field; values stay as they are.

No library does this alone: pydantic, cattrs and OmegaConf's structured configs turn 1 into 1.0
where a number is declared, by which run ids, hashes of the values' JSON, would change. What fits is
known by then: `lightning_sparse.settings.schema` says in one line what does not.
"""

import functools
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from lightning_sparse.errors import UserError

T = TypeVar("T")


def decoded(kind: type[T], said: Mapping[str, Any], *, place: str = "", **beside: Any) -> T:
    """Return a tree of dataclasses with what a mapping says; the rest are their defaults.

    Args:
        kind: Of the tree.
        said: By field; of a field that is a tree itself, a mapping too.
        place: Where it stands, for messages: ``training.``.
        **beside: Fields of ``kind`` that no mapping says.

    Raises:
        UserError: If something is missing that has no default, or the values do not fit each other.
    """
    kinds = {name: inner for name, inner in _kinds_of(kind).items() if name not in beside}
    missing = [name for name in _needed(kind) if name not in {*said, *beside}]
    if missing:
        raise UserError(f"{place}{missing[0]}: is not given, and there is no default")
    values = {
        name: decoded(inner, said[name], place=f"{place}{name}.") if _is_tree(inner) else said[name]
        for name, inner in kinds.items()
        if name in said
    }
    return kind(**values, **beside)


def decoded_with_nulls(kind: type[T], said: Mapping[str, Any]) -> T:
    """Return the same of what another version said: null is what it lacks, and nothing is checked.

    Raises:
        AttributeError: If it says something else where a mapping belongs.
    """
    tree = object.__new__(kind)
    for name, inner in _kinds_of(kind).items():
        value = said.get(name)
        if _is_tree(inner) and value is not None:
            value = decoded_with_nulls(inner, value)
        object.__setattr__(tree, name, value)
    return tree


def plain(tree: Any, kind: type | None = None) -> dict[str, Any]:
    """Return a tree of dataclasses as a mapping, in the order of their declarations.

    Args:
        tree: Whose values are given out as they are.
        kind: Of which the fields are wanted; None for the tree's own.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Example:
        ...     sparsity: float
        >>> plain(decoded(Example, {"sparsity": 0}))
        {'sparsity': 0}
    """
    return {
        name: plain(getattr(tree, name), inner) if _is_tree(inner) else getattr(tree, name)
        for name, inner in _kinds_of(kind or type(tree)).items()
    }


def _needed(kind: Any) -> list[str]:
    """Return the fields that have no default."""
    return [
        item.name
        for item in fields(kind)
        if item.default is MISSING and item.default_factory is MISSING
    ]


def _is_tree(kind: Any) -> bool:
    return is_dataclass(kind)


def _kinds_of(kind: Any) -> Mapping[str, Any]:
    return _kinds(kind)


@functools.cache
def _kinds(kind: Any) -> Mapping[str, Any]:
    """Return the type of each field, in order."""
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}
