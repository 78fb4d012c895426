"""Rounds of pruning by magnitude, weight by weight. No package imports."""

from fractions import Fraction
from math import ceil


def after_round(weights, kept, share):
    """Return the places that stay of ``kept`` when the smallest share of them goes, rounded up.

    Of equal weights the later one goes first.
    """
    number = ceil(Fraction(str(share)) * len(kept))
    falling = sorted(kept, key=lambda place: (-abs(weights[place]), place))
    return set(falling[: len(kept) - number])
