"""What settings refer to (``${sparsity}``), read by OmegaConf, of which a command has one tree.

To build and read OmegaConf's tree anew for each of hundreds of jobs would take a minute, and most
of them differ in a seed alone: what nothing has changed for is read once.
"""

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

# The first name of what is referred to, and references whose first name is itself a reference.
_FIRST_NAME, _ANY_NAME = re.compile(r"\$\{\.*([\w-]+)"), re.compile(r"\$\{\.*\$")


class _Resolver:
    """Holds the last tree as OmegaConf's, of which what is not the same in the next is replaced."""

    def __init__(self) -> None:
        self._config = OmegaConf.create()
        self._parts: dict[str, Any] = {}
        self._reads: dict[str, Collection[str]] = {}
        self._values: dict[str, Any] = {}

    def resolve(self, tree: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        self._update(tree)
        return {name: copy.deepcopy(self._value(name)) for name in names}

    def _update(self, tree: Mapping[str, Any]) -> None:
        gone = self._parts.keys() - tree.keys()
        new = {name for name in tree if not _is_same(self._parts.get(name, self), tree[name])}
        stale = [name for name in self._values if self._all_reads(name) & {*gone, *new}]
        for name in {*gone, *stale}:
            self._values.pop(name, None)
        for name in gone:
            del self._config[name], self._parts[name], self._reads[name]
        for name in new:
            self._parts[name] = self._config[name] = tree[name]
            self._reads[name] = {*_reads(tree[name])}

    def _value(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = _resolved(self._config, name, self._parts[name])
        return self._values[name]

    def _all_reads(self, name: str) -> set[str]:
        """Return the parts that the values of one may depend on, itself among them."""
        found, waiting = {name}, [name]
        while waiting:
            reads = self._reads.get(waiting.pop(), ())
            named = self._parts if "*" in reads else reads
            waiting += [other for other in named if other not in found]
            found.update(named)
        return found


def _is_same(one: Any, other: Any) -> bool:
    """Compare as written: what is equal may be of another type, as 1 and true are."""
    return one is other or repr(one) == repr(other)


def _reads(part: Any) -> Iterator[str]:
    """Yield the first name of everything that a part refers to; ``*`` where it may be any."""
    if isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _reads(value)
    elif isinstance(part, str) and "${" in part:
        yield from _FIRST_NAME.findall(part)
        yield from "*" if _ANY_NAME.search(part) else ()


def _resolved(parent: Any, key: Any, part: Any) -> Any:
    """Return a copy of one part of a tree, in which nothing refers to anything."""
    if isinstance(part, dict):
        return {name: _resolved(parent[key], name, value) for name, value in part.items()}
    if isinstance(part, list):
        return [_resolved(parent[key], number, value) for number, value in enumerate(part)]
    if not isinstance(part, str) or ("${" not in part and part != "???"):
        return part
    found = parent[key]
    if OmegaConf.is_config(found):
        return OmegaConf.to_container(found, resolve=True, throw_on_missing=True)
    return found


_RESOLVER = _Resolver()


def resolve(tree: Mapping[str, Any], names: Collection[str] = ()) -> dict[str, Any]:
    """Return settings with the values that they refer to.

    Args:
        tree: All settings; nothing in it may be changed afterwards.
        names: Of the parts that are wanted; none for all.

    Raises:
        OmegaConfBaseException: If something refers to what is not there, or is missing.

    Example:
        >>> resolve({"sparsity": 0.9, "method": {"sparsity": "${sparsity}"}})
        {'sparsity': 0.9, 'method': {'sparsity': 0.9}}
    """
    return _RESOLVER.resolve(tree, names or tree.keys())
