"""Arguments of a class that a file names, against what the class declares for them.

A quoted ``"false"`` is true wherever only truth is asked for, so it is refused by its declaration.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lightning_sparse.errors import UserError
from lightning_sparse.settings.schema import described, fits

_SCALARS = {bool, int, float, types.NoneType}


def check_arguments(target: Any, arguments: Mapping[str, Any], place: str) -> None:
    """Refuse what is declared as number, truth value or choice and given as something else.

    Other declarations are the class's own affair, and so is what it does not declare.

    Args:
        target: A class or a function.
        arguments: By name, as settings.
        place: Where they stand, for messages: ``data``.

    Raises:
        UserError: Naming the first that does not fit.
    """
    hints = _hints(target)
    for name, value in arguments.items():
        _check_choice(value, hints.get(name, Any), f"{place}.{name}")
        options = _options(hints.get(name, Any))
        if not options or any(fits(value, option) for option in options):
            continue
        wanted = " or ".join(map(described, options))
        quoted = ", without quotes" if isinstance(value, str) else ""
        raise UserError(f"{place}.{name}={value!r}: must be {wanted}{quoted}")


def _check_choice(value: Any, declared: Any, name: str) -> None:
    choices = get_args(declared) if get_origin(declared) is Literal else (value,)
    if value not in choices:
        raise UserError(f"{name}={value!r}: choose one of {', '.join(map(str, choices))}")


def _options(declared: Any) -> Sequence[Any]:
    """Return the types that a declaration allows, if all of them are numbers or truth values."""
    is_union = get_origin(declared) in {Union, types.UnionType}
    options = get_args(declared) if is_union else (declared,)
    return options if all(option in _SCALARS for option in options) else ()


def _hints(target: Any) -> Mapping[str, Any]:
    function = vars(target).get("__init__", target) if isinstance(target, type) else target
    try:
        return get_type_hints(function)
    except (TypeError, NameError, AttributeError):  # declared with names that are not there now
        return {}
