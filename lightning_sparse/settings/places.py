"""Settings that name a folder or a file: their values are names, not Hydra's grammar.

To Hydra ``runs_dir=2012`` is a number, ``runs_dir=a,b`` a sweep, and ``runs_dir=a=b`` an error.
What stands behind the sign of equality is put into quotes as it is, so that it also comes unchanged
to the worker processes and jobs that are given overrides.
"""

import json
import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lightning_sparse.settings.schema import LEAVES, is_open

# Of the commands that write data.
_PLACES_OF_DATA = frozenset({"imagenet", "images", "out"})

# Arguments of classes are places if they are called like one: data.root, model.weights_file.
_CALLED_PLACE = re.compile(r"(.*_)?(root|dir|folder|path|file)")

_QUOTED = re.compile(r"'.*'|\".*\"")


def is_place(name: str) -> bool:
    """Whether a setting names a folder or a file."""
    last = name.rpartition(".")[2]
    if name in LEAVES and LEAVES[name].traits.is_place:
        return True
    return name in _PLACES_OF_DATA or (is_open(name) and bool(_CALLED_PLACE.fullmatch(last)))


def with_literal_place(override: str) -> str:
    r"""Put the value of a place into quotes, unless Hydra takes it for the same text without them.

    ``null``, interpolations (``${...}``) and what is in quotes already stay; ``~/`` is the home
    folder, which shells do not expand there.

    Example:
        >>> with_literal_place("runs_dir=a=b, c's")
        "runs_dir='a=b, c\\'s'"
        >>> with_literal_place("seed=1,2")
        'seed=1,2'
    """
    name, _, value = override.partition("=")
    if not is_place(name.lstrip("+")) or value in {"", "null"} or "${" in value:
        return override
    if _QUOTED.fullmatch(value) and isinstance(_value_by_hydra(override), str):
        return override
    if value == "~" or value.startswith("~/"):
        value = str(Path(value).expanduser())
    if _value_by_hydra(f"{name}={value}") == value:
        return f"{name}={value}"
    return f"{name}={quoted(value)}"


def word(name: str, value: Any) -> str:
    """Write a setting as it is typed.

    Example:
        >>> word("reproduce.seeds", [11, 12]), word("mask_source", None), word("runs_dir", "2012")
        ('reproduce.seeds=[11, 12]', 'mask_source=null', "runs_dir='2012'")
    """
    if not isinstance(value, str):
        return f"{name}={json.dumps(value)}"
    plain = f"{name}={value}"
    return plain if _value_by_hydra(plain) == value else f"{name}={quoted(value)}"


def quoted(text: str) -> str:
    r"""Write a text as Hydra reads it whatever is in it.

    Backslashes are doubled where they stand before a quote or at the end, and only there.
    """
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text)
    return f"'{escaped}'"


def _value_by_hydra(override: str) -> object:
    try:
        return OverridesParser.create().parse_override(override).value()
    except (HydraException, ValueError):
        return None
