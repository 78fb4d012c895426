"""Words of earlier versions on the command line: understood, and said in today's."""

import functools
import sys
from collections.abc import Sequence

from lightning_sparse.errors import UserError
from lightning_sparse.points import parse_point

_CURVES = {"1": "line", "2": "quadratic", "3": "cubic"}


def in_todays_words(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with what has another name now under that name.

    Example:
        >>> in_todays_words(["seed=3", "path.degree=4"])
        ['seed=3', 'curve=quadratic', 'curve.degree=4']
    """
    return [word for override in overrides for word in _today(override)]


def verb_in_todays_words(words: Sequence[str]) -> list[str]:
    """Return a command with today's verb: what submitted is another verb's ``where=slurm`` now.

    Example:
        >>> verb_in_todays_words(["slurm-agents", "sweep.id=me/mine/a1"])
        ['agent', 'sweep.id=me/mine/a1', 'where=slurm']
    """
    verb, *rest = words
    today = _SUBMITTING.get(verb)
    if today is None:
        return [*words]
    _remark(verb, f"{today} where=slurm")
    return [today, *rest, "where=slurm"]


def begin_remarks_anew() -> None:
    """Say again what was said: once for each command, not for each process of a notebook."""
    _remark.cache_clear()


_SUBMITTING = {
    "slurm-train": "train",
    "slurm-line": "line",
    "slurm-path": "path",
    "slurm-reproduce": "reproduce",
    "slurm-laboratory": "laboratory",
    "slurm-multirun": "multirun",
    "slurm-agents": "agent",
}


def _today(override: str) -> list[str]:
    name, _, value = override.partition("=")
    if name in {"path.start", "path.end"}:
        return [_point(name, value)]
    if name != "path.degree":
        return [override]
    known = _CURVES.get(value)
    words = [f"curve={known}"] if known else ["curve=quadratic", f"curve.degree={value}"]
    _remark(override, " ".join(words))
    return words


def _point(name: str, value: str) -> str:
    try:
        today = str(parse_point(value))
    except UserError:  # said where it is looked for
        today = value
    if today != value:
        _remark(f"{name}={value}", f"{name}={today}")
    return f"{name}={today}"


@functools.cache
def _remark(said: str, today: str) -> None:
    print(f"{said} is written {today} now", file=sys.stderr)
