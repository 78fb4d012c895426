"""How far the loss rises along a path: the numbers that the claims are about. No torch.

Three words, each defined by its function: the *descent* R (`descent`), the *rise* M
(`largest_rise`) and the *barrier* H (`barriers`, over the worse end). Every function takes ``ts``
in increasing order and the value at each of them. Points outside [0, 1] are extrapolation: they are
drawn, and left out of every number here.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rise:
    """The largest rise along a path and the pair of points that attains it.

    Attributes:
        value: Largest ``L(to_t) - L(from_t)`` over ``from_t <= to_t``; 0 on a falling path.
        from_t: Where the rise begins.
        to_t: Where it ends; equals ``from_t`` when nothing rises.
    """

    value: float
    from_t: float
    to_t: float


def largest_rise(ts: Sequence[float], values: Sequence[float]) -> Rise:
    """Find the pair s <= t in [0, 1] with the largest L(t) - L(s).

    Unlike a barrier it says nothing about the ends: a path that dips and returns has risen, one
    that only falls has not, whatever its ends are.

    Raises:
        ValueError: If lengths differ, ``ts`` does not increase, or no point lies in [0, 1].

    Example:
        >>> largest_rise([0.0, 0.5, 1.0], [2.0, 0.5, 1.5])
        Rise(value=1.0, from_t=0.5, to_t=1.0)
        >>> largest_rise([0.0, 0.5, 1.0], [3.0, 2.0, 1.0]).value
        0.0
    """
    inside = _inside(ts, values)
    lowest_t, lowest = inside[0]
    best = Rise(value=0.0, from_t=lowest_t, to_t=lowest_t)
    for t, value in inside:
        if value < lowest:
            lowest_t, lowest = t, value
        if value - lowest > best.value:
            best = Rise(value=value - lowest, from_t=lowest_t, to_t=t)
    return best


def descent(ts: Sequence[float], values: Sequence[float]) -> Rise:
    """Find the largest rise on the way down to the level of the end: R of rules 2.

    The way goes from t = 0 to the first later point whose value is the end's or below, to the end
    if there is none before. So R says how far one has to climb from here until things are as good
    as at the end; what the path does below that level does not count, which makes R at most
    `largest_rise`.

    Raises:
        ValueError: As `largest_rise`.

    Example:
        >>> values = [3.0, 0.5, 1.0]  # falls below the end, then climbs to it
        >>> descent([0.0, 0.5, 1.0], values).value, largest_rise([0.0, 0.5, 1.0], values).value
        (0.0, 0.5)
        >>> descent([0.0, 0.5, 1.0], [3.0, 3.5, 1.0])
        Rise(value=0.5, from_t=0.0, to_t=0.5)
    """
    inside = _inside(ts, values)
    end = inside[-1][1]
    later = range(1, len(inside))
    arrived = next((place for place in later if inside[place][1] <= end), 0)
    way = inside[: arrived + 1]
    return largest_rise([t for t, _ in way], [value for _, value in way])


def margin(num_classes: int) -> float:
    """Smallest rise that counts under rules 2, delta: 1 % of the loss of blind guessing, in nats.

    Example:
        >>> round(margin(10), 4), round(margin(1000), 4)
        (0.023, 0.0691)
    """
    return 0.01 * math.log(num_classes)


@dataclass(frozen=True, kw_only=True)
class Barriers:
    """Three barriers of the literature, beside the largest rise; all in the unit of the values.

    Attributes:
        chord: Largest excess over the straight line between the end values (Entezari et al. 2021).
        mean_of_ends: Maximum minus the mean of the end values (Frankle et al. 2020). It is positive
            even on a falling path whose ends differ, so no claim uses it.
        worse_end: Maximum minus the larger end value: H of rules 2, for pairs of equals.
        top_t: Where the maximum is.
    """

    chord: float
    mean_of_ends: float
    worse_end: float
    top_t: float


def barriers(ts: Sequence[float], values: Sequence[float]) -> Barriers:
    """Measure the barriers over the points in [0, 1]; the ends are the outermost of those.

    Example:
        >>> barriers([0.0, 0.5, 1.0], [1.0, 4.0, 3.0])
        Barriers(chord=2.0, mean_of_ends=2.0, worse_end=1.0, top_t=0.5)
    """
    inside = _inside(ts, values)
    (first_t, first), (last_t, last) = inside[0], inside[-1]
    span = last_t - first_t
    top_t, highest = max(inside, key=lambda point: point[1])
    chord = max(
        value - (first + (last - first) * (t - first_t) / span if span else first)
        for t, value in inside
    )
    return Barriers(
        chord=chord,
        mean_of_ends=highest - (first + last) / 2,
        worse_end=highest - max(first, last),
        top_t=top_t,
    )


def tolerance(*, standard_error: float, first: float, last: float) -> float:
    """Smallest rise that counts under rules 1: two standard errors, at least 1 % of the drop.

    Example:
        >>> tolerance(standard_error=0.001, first=2.0, last=1.0)
        0.01
    """
    return max(2 * standard_error, 0.01 * abs(first - last))


def _inside(ts: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    if len(ts) != len(values):
        raise ValueError(f"{len(ts)} values of t, but {len(values)} values on the path")
    if any(later <= earlier for earlier, later in itertools.pairwise(ts)):
        raise ValueError("t must increase strictly")
    inside = [(t, value) for t, value in zip(ts, values, strict=True) if 0 <= t <= 1]
    if not inside:
        raise ValueError("no point of the path lies in [0, 1]")
    return inside
