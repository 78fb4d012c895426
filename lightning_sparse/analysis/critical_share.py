"""The smallest share of freed coordinates from which one goes downhill, and how it is searched for.

PROTOCOL.md, section 11, F. What was tried is in the records: nothing else is remembered, so that a
search which was killed goes on where its records end.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route, route_of
from lightning_sparse.analysis.measured_descents import measure_descent

ORDERS = ("random", "gradient", "magnitude")
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Asked of every seed; then ln x is bisected."""

SEARCHES = (None, 1)
"""Draws of t: each share is searched twice, which shows how much the search itself scatters."""

_ENDS = ("scratch:end", "prune:end")
_FACTOR = 1.5

Tried = Mapping[float, Sequence[float]]
"""By share the descents R that its searches found, in nats."""


@dataclass(frozen=True, kw_only=True)
class CriticalShare:
    """What a search has found.

    Attributes:
        share: The smallest share that succeeds; None if none does: censored.
        is_zero: Whether the mask alone succeeds, which leaves nothing to ask.
    """

    share: float | None
    is_zero: bool = False

    @property
    def log(self) -> float | None:
        """Its logarithm; where the mask alone succeeds, that of the smallest share asked."""
        return None if self.share is None else math.log(max(self.share, SHARES[1]))


def least_descents(tried: Tried) -> dict[float, float]:
    """Return the running minimum over shares of the least R: a larger set holds smaller curves.

    Example:
        >>> least_descents({0.5: [0.4, 0.3], 0.1: [0.2], 1.0: [0.0]})
        {0.1: 0.2, 0.5: 0.2, 1.0: 0.0}
    """
    least, found = math.inf, {}
    for share in sorted(tried):
        least = min(least, *tried[share])
        found[share] = least
    return found


def critical_share(tried: Tried, margin: float) -> CriticalShare:
    """Return the smallest share whose running minimum lies within the margin.

    Example:
        >>> critical_share({0.0: [1.0], 0.5: [0.01], 1.0: [0.0]}, 0.02).share
        0.5
    """
    within = [share for share, least in least_descents(tried).items() if least <= margin]
    if not within:
        return CriticalShare(share=None)
    return CriticalShare(share=within[0], is_zero=within[0] == 0)


def next_share(tried: Tried, margin: float) -> float | None:
    """Return the share to ask next; None if all is known.

    Args:
        tried: With all of `SHARES` among them.
        margin: Delta, in nats.

    Example:
        >>> tried = {**dict.fromkeys(SHARES, [1.0]), 0.5: [0.01], 1.0: [0.0]}
        >>> next_share(tried, 0.02), next_share({**tried, 0.354: [1.0]}, 0.02)
        (0.354, None)
    """
    found = critical_share(tried, margin)
    below = [share for share in tried if found.share is not None and 0 < share < found.share]
    if found.share is None or not below or found.share / max(below) <= _FACTOR:
        return None
    # As it is written in ids: three digits are enough for a factor of 1.5.
    return float(f"{math.sqrt(found.share * max(below)):.3g}")


def route_to(share: float, order: str, search: int | None) -> Route:
    """Return the curve of a share: at 0 and 1, where there is no order, the plain ones."""
    if share in {0.0, 1.0}:
        return Route(*_ENDS, QUADRATIC, "dense" if share else "sparse", search=search)
    return Route(*_ENDS, QUADRATIC, "sparse", share=share, order=order, search=search)


def tried_in(
    experiment: ExperimentRecords, seed: int, order: str, sparsity: float
) -> tuple[dict[float, list[float]], float]:
    """Return what was tried in a seed, and the margin; empty, and 0, if nothing was freed.

    A share counts once all of its searches are there.
    """
    margins = []
    found: dict[float, list[float]] = {}
    freed = {
        path.freed_share
        for path in experiment.paths
        if path.seed == seed and path.freed_order == order and path.freed_share is not None
    }
    for share in sorted({*freed, 0.0, 1.0} if freed else ()):
        routes = [route_to(share, order, search) for search in SEARCHES]
        paths = [experiment.path(route, seed, sparsity) for route in routes]
        measured = [measure_descent(path) for path in paths if path is not None]
        if len(measured) == len(routes):
            found[share] = [one.descent.value for one in measured]
            margins += [one.margin for one in measured]
    return found, margins[0] if margins else 0.0


def seeds_with_shares(experiment: ExperimentRecords) -> list[int]:
    """Return the seeds in which shares were freed."""
    return sorted({path.seed for path in experiment.paths if route_of(path).share is not None})


def is_complete(tried: Tried, margin: float) -> bool:
    """Whether every share was asked that there is to ask."""
    return set(SHARES) <= set(tried) and next_share(tried, margin) is None
