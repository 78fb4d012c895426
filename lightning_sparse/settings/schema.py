"""Every setting there is, by its dotted name, and what it may hold. No torch in here.

One table for the command line and for files: the shipped ones under ``conf/`` and a user's own.
"""

import difflib
import functools
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from lightning_sparse.errors import UserError
from lightning_sparse.settings.shipped import choices, conf_folders
from lightning_sparse.settings.tree import Leaf, Settings, leaves_of

LEAVES: Mapping[str, Leaf] = {leaf.name: leaf for leaf in leaves_of(Settings)}

# Below these stand the arguments of something that is chosen: a class, the Trainer, sbatch.
OPEN = tuple(name for name, leaf in LEAVES.items() if leaf.is_open)

_SCHEMA: Mapping[str, Any] = {name: leaf.type for name, leaf in LEAVES.items() if not leaf.is_open}


def schema() -> Mapping[str, Any]:
    """Return the type of every setting that is not open.

    There is a tuned rate for every arm, and one for those that have none of their own.
    """
    return _schema(conf_folders())


@functools.cache
def _schema(_: tuple[Path, ...]) -> Mapping[str, Any]:
    rates = {f"tuned.learning_rate.{arm}": float for arm in [*choices("method"), "others"]}
    return {**{name: of for name, of in _SCHEMA.items() if name != "tuned.learning_rate"}, **rates}


def _declared(name: str) -> Any:
    """Return the type of one setting that is not open; None if there is no such setting.

    Folders are looked into for the names of arms alone: this is asked hundreds of times a command.
    """
    is_of_arms = f"{name}.".startswith("tuned.learning_rate.")
    return (schema() if is_of_arms else _SCHEMA).get(name)


_KINDS: Mapping[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a text", "texts"),
    dict: ("a mapping", "mappings"),
    types.NoneType: ("null", "nulls"),
}


def leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting that is not a mapping, with its dotted name.

    Example:
        >>> dict(leaves({"seed": 3, "path": {"space": "dense"}}))
        {'seed': 3, 'path.space': 'dense'}
    """
    if not isinstance(settings, Mapping) or (prefix and not settings):
        yield prefix, settings
        return
    for name, value in settings.items():
        yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))


def is_open(name: str) -> bool:
    """Whether a name is an argument of what is chosen, which alone knows what it takes."""
    return any(name == place or name.startswith(f"{place}.") for place in OPEN)


def check_name(name: str, value: Any) -> None:
    """Refuse a setting that nothing would ever read.

    Raises:
        UserError: Saying what was probably meant.
    """
    if _declared(name) is not None or is_open(name):
        return
    below = next((known for known in schema() if known.startswith(f"{name}.")), None)
    if below is not None and not value:
        raise UserError(f"{name} is empty; leave it out, or give what it holds, such as {below}")
    if below is not None:
        raise UserError(f"{name}={value!r}: holds several settings; name one, such as {below}")
    raise UserError(unknown(name))


def unknown(name: str) -> str:
    """Say that there is no such setting, and what was probably meant."""
    parent = name.rpartition(".")[0]
    if parent in OPEN:
        return (
            f"no setting is called {name!r}; an argument of the chosen class is added with a plus "
            f"sign: +{name}=..."
        )
    close = difflib.get_close_matches(name, schema(), n=1, cutoff=0.5)
    hint = (
        f"did you mean {close[0]}?" if close else "`lightning-sparse train --settings` lists them"
    )
    return f"no setting is called {name!r}; {hint}"


def check_type(name: str, value: Any, default: Any = None) -> None:
    """Compare a setting's value with its type, or with that of its default if it is open.

    Raises:
        UserError: If it does not fit.
    """
    expected = _declared(name)
    if name in OPEN:
        # Arguments stand below it; of what is null by default, nothing else says so.
        expected = dict | None if type(None) in get_args(LEAVES[name].type) else dict
    if expected is None:
        if value is None or default is None or name.startswith("trainer."):
            # Whether null is something, a class declares; and Lightning takes numbers, lists and
            # words for the same arguments of its Trainer.
            return
        expected = type(default)
    if not fits(value, expected):
        example = LEAVES[name].traits.example if name in LEAVES else None
        example = default if example is None else example
        hint = "" if example is None else f", for example {name}={example}"
        raise UserError(f"{name}={value!r}: must be {described(expected)}{hint}")


def fits(value: Any, expected: Any) -> bool:
    """Whether ``value`` may stand for ``expected``: an integer for a number, too."""
    expected = get_origin(expected) if get_origin(expected) is dict else expected
    if isinstance(expected, types.UnionType):
        return any(fits(value, option) for option in get_args(expected))
    if expected is types.NoneType:
        return value is None
    if get_origin(expected) is list:
        return isinstance(value, list) and all(fits(i, get_args(expected)[0]) for i in value)
    if isinstance(value, bool) or expected is bool:
        return isinstance(value, bool) and expected is bool
    return isinstance(value, int | float if expected is float else expected)


def described(expected: Any) -> str:
    """Say what a type is, as part of a sentence: ``a number or null``.

    Example:
        >>> described(float | None)
        'a number or null'
    """
    if isinstance(expected, types.UnionType):
        kinds = [described(option) for option in get_args(expected)]
        return " or ".join(kinds)
    if get_origin(expected) is list:
        item = get_args(expected)[0]
        return f"a list of {_KINDS[get_origin(item) or item][1]}"
    return _KINDS[expected][0] if expected in _KINDS else "a list"
