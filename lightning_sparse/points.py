"""Points in weight space as they are written: ``scratch:end``, ``prune:100``, ``runs/NAME:end``."""

import re
from dataclasses import dataclass
from typing import Literal

from lightning_sparse.errors import UserError

Moment = Literal["start", "end"] | int
"""The start or the end of a run, or one of its optimizer steps, from 0."""

# As points were written in earlier versions, and are in their records.
_LETTERS = {"D": "dense", "D2": "dense2", "P": "prune", "S": "scratch", "L": "lottery"}
_LETTER = re.compile(r"(D2?|P|S|L)-(start|end)")


@dataclass(frozen=True)
class Point:
    """A run at one moment.

    Attributes:
        run: An arm's name, as in ``conf/method/``; or the folder of a run, or its id.
        moment: When.
    """

    run: str
    moment: Moment

    def __str__(self) -> str:
        """Write it as `parse_point` reads it."""
        return f"{self.run}:{self.moment}"

    @property
    def letters(self) -> str | None:
        """The point as ids have it since earlier versions: ``S-end``; None for other arms."""
        known = {run: letter for letter, run in _LETTERS.items()}
        return f"{known[self.run]}-{self.moment}" if self.run in known else None


def parse_point(text: str) -> Point:
    """Read a point; one in the letters of earlier versions is understood.

    Raises:
        UserError: If it is none.

    Example:
        >>> parse_point("prune:100"), parse_point("runs/x:end")
        (Point(run='prune', moment=100), Point(run='runs/x', moment='end'))
        >>> str(parse_point("D2-end"))
        'dense2:end'
    """
    if found := _LETTER.fullmatch(text):
        return Point(_LETTERS[found[1]], "start" if found[2] == "start" else "end")
    run, _, moment = text.rpartition(":")
    if run and moment.isascii() and moment.isdigit():
        return Point(run, int(moment))
    if not run or moment not in {"start", "end"}:
        raise UserError(
            f"{text!r} is no point; write an arm or a run folder, and a moment: scratch:end, "
            "prune:100 or runs/NAME:end"
        )
    return Point(run, "start" if moment == "start" else "end")
