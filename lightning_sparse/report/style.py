"""The words, colours and numbers that every figure and table of the report shares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lightning_sparse.arms import Arm
from lightning_sparse.points import parse_point
from lightning_sparse.records import STRAIGHT_LINE

# Below it a number is written with an exponent.
_SMALLEST_PLAIN = 1e-4

# The sign never begins a line.
_PERCENT = "\N{NO-BREAK SPACE}%"

PAPER_ADDRESS = "https://arxiv.org/abs/1906.10732"

# What is left of Okabe and Ito's palette, whose colours readers with any of the common colour
# deficiencies can tell apart, for arms whose files name none.
_FREE_COLOURS = ("#56b4e9", "#cc79a7", "#e69f00", "#f0e442")
_FREE_MARKERS = ("v", "P", "X", "d")

# Stands where there is no number.
NONE = "—"

VERDICT_SYMBOLS: Mapping[str, str] = {
    "supported": "✓",
    "not supported": "✗",
    "contradicted": "✗",
    "undecided": "?",
}
VERDICT_COLOURS: Mapping[str, str] = {
    "supported": "#00664a",
    "not supported": "#a33c00",
    "undecided": "#5a5a5a",
}


@dataclass(frozen=True)
class LineStyle:
    """How one kind of path is drawn, in every figure."""

    colour: str
    dashes: str | tuple[float, tuple[float, ...]]
    marker: str


STRAIGHT = LineStyle("#5a5a5a", (0, (1.2, 1.2)), "s")
IN_MASK = LineStyle("#aa3377", "solid", "o")
IN_DENSE = LineStyle("#c98500", (0, (5, 1.5)), "^")
CONTROL = LineStyle("#8f8f8f", (0, (4, 1.5, 1, 1.5)), "D")


def curve_style(curve: str, space: str) -> LineStyle:
    """Return how a path is drawn: by the space it may use, and the line apart."""
    if curve == STRAIGHT_LINE:
        return STRAIGHT
    return IN_DENSE if space == "dense" else IN_MASK


@dataclass(frozen=True)
class Looks:
    """What arms are called and how they are drawn, as their files say.

    Attributes:
        arms: By name; one that is not there is called by its name.
    """

    arms: Mapping[str, Arm] = field(default_factory=dict)

    def words(self, arm: str) -> str:
        """Name an arm for a reader."""
        return self.arms[arm].words if arm in self.arms else arm

    def point(self, text: str) -> str:
        """Name a point in weight space for a reader.

        Example:
            >>> looks = Looks({"prune": Arm(name="prune", stream="init", words="pruned")})
            >>> looks.point("prune:end"), looks.point("prune:1000"), looks.point("rigl:start")
            ('pruned solution', 'pruned at step 1,000', 'rigl start')
        """
        of = parse_point(text)
        moment = "start" if of.moment == "start" else "solution"
        if isinstance(of.moment, int):
            moment = f"at step {of.moment:,}"
        return f"{self.words(of.run)} {moment}"

    def colour(self, arm: str) -> str:
        """Return the colour of an arm's line; one that names none takes one that is free."""
        own = self.arms[arm].colour if arm in self.arms else None
        return own or _FREE_COLOURS[self._place(arm) % len(_FREE_COLOURS)]

    def marker(self, arm: str) -> str:
        """Return the marker of an arm's points, likewise."""
        own = self.arms[arm].marker if arm in self.arms else None
        return own or _FREE_MARKERS[self._place(arm) % len(_FREE_MARKERS)]

    def _place(self, arm: str) -> int:
        plain = [name for name, value in self.arms.items() if value.colour is None]
        return plain.index(arm) if arm in plain else len(plain)


def curve_words(curve: str, space: str) -> str:
    """Name the form of a path and the space it may use.

    Example:
        >>> curve_words("quadratic curve", "end_mask")
        'quadratic curve inside the mask'
    """
    if curve == STRAIGHT_LINE:
        return curve
    where = {"dense": "in the dense space", "union": "inside both masks together"}
    return f"{curve} {where.get(space, 'inside the mask')}"


def number(value: float, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits, plainly where that is short.

    Example:
        >>> [number(x) for x in (2.934, 0.0123456, 0.0, -0.5, 1234.5, 0.00000123)]
        ['2.93', '0.0123', '0', '-0.500', '1234', '1.23e-06']
    """
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    if abs(value) < _SMALLEST_PLAIN:
        return f"{value:.{digits - 1}e}"
    return f"{value:#.{digits}g}"


def nominal(sparsity: float) -> str:
    r"""Write a sparsity that was asked for as percent, without needless digits.

    Example:
        >>> nominal(0.98), nominal(0.965)
        ('98\xa0%', '96.5\xa0%')
    """
    return f"{100 * sparsity:.4g}{_PERCENT}"


def percent(value: float, digits: int = 1) -> str:
    r"""Write a measured fraction as percent.

    Example:
        >>> percent(0.98), percent(0.96523, 2)
        ('98.0\xa0%', '96.52\xa0%')
    """
    return f"{100 * value:.{digits}f}{_PERCENT}"


def seed_words(seeds: Iterable[int]) -> str:
    """Write seeds as a sentence does; three or more in a row as a range.

    Example:
        >>> seed_words([13, 11, 12, 14, 21, 22])
        '11 to 14, 21 and 22'
    """
    rows: list[list[int]] = []
    for seed in sorted(seeds):
        if rows and seed == rows[-1][-1] + 1:
            rows[-1].append(seed)
        else:
            rows.append([seed])
    return listed(
        word
        for row in rows
        for word in ([f"{row[0]} to {row[-1]}"] if len(row) > 2 else map(str, row))  # noqa: PLR2004
    )


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last
