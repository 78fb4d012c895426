"""Intervals over seeds."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

Interval = tuple[float, float]

CONFIDENCE = 0.95
FEWEST_SEEDS = 2


def t_interval(values: Sequence[float]) -> Interval | None:
    """Cover the mean that the values scatter around, by Student's t at 95 %.

    For a paired comparison hand in one difference per seed. Not a bootstrap: with three seeds that
    covers about 75 %.

    Returns:
        Lower and upper end; None below two values, which say nothing about their scatter. Equal
        values give an interval of zero width, as small rises do that are all set to one floor.

    Example:
        >>> low, high = t_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
        >>> t_interval([2.0, 2.0])
        (2.0, 2.0)
        >>> t_interval([1.0]) is None
        True
    """
    if len(values) < FEWEST_SEEDS:
        return None
    # Both exactly rounded (unlike a running sum), so equal values have exactly no scatter.
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half_width = quantile * deviation / math.sqrt(len(values))
    return mean - half_width, mean + half_width
