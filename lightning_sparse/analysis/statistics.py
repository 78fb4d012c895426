"""Intervals over seeds, and the tests that they are the inverse of."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import bdtr, betaincinv, stdtr, stdtrit

Interval = tuple[float, float]

CONFIDENCE = 0.95
FEWEST_SEEDS = 2


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Cover the mean that the values scatter around, by Student's t, at 95 % if nothing else.

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
    quantile = float(stdtrit(len(values) - 1, (1 + confidence) / 2))
    half_width = quantile * deviation / math.sqrt(len(values))
    return mean - half_width, mean + half_width


def t_test(values: Sequence[float]) -> float | None:
    """Two-sided p of the values' mean being 0, by Student's t; None below two values.

    Example:
        >>> round(t_test([1.0, 2.0, 3.0]), 4)
        0.0742
        >>> t_test([2.0, 2.0]), t_test([0.0, 0.0])
        (0.0, 1.0)
    """
    if len(values) < FEWEST_SEEDS:
        return None
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if deviation == 0:
        return float(mean == 0)
    t = mean / (deviation / math.sqrt(len(values)))
    return float(2 * stdtr(len(values) - 1, -abs(t)))


def equivalence_test(values: Sequence[float], margin: float) -> float | None:
    """P of the values' mean lying outside a margin around 0: the larger of two one-sided tests.

    At most 5 % exactly where `t_interval` at 90 % lies within the margin (Schuirmann 1987,
    https://doi.org/10.1007/BF01068419). None below two values.

    Example:
        >>> round(equivalence_test([-0.1, 0.0, 0.1], 1.0), 4)
        0.0017
        >>> equivalence_test([2.0, 2.0], 1.0), equivalence_test([0.5, 0.5], 1.0)
        (1.0, 0.0)
    """
    if len(values) < FEWEST_SEEDS:
        return None
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    room = margin - abs(mean)
    if deviation == 0:
        return float(room <= 0)
    return float(stdtr(len(values) - 1, -room / (deviation / math.sqrt(len(values)))))


def share_interval(holding: int, count: int) -> Interval | None:
    """Cover a share by Clopper and Pearson's exact interval at 95 %; None without a seed.

    Args:
        holding: How many of them have what is counted.
        count: How many there are.

    Example:
        >>> low, high = share_interval(6, 6)
        >>> round(low, 3), high
        (0.541, 1.0)
    """
    if count == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(holding, count - holding + 1, tail)) if holding else 0.0
    high = float(betaincinv(holding + 1, count - holding, 1 - tail)) if holding < count else 1.0
    return low, high


def share_test(holding: int, count: int) -> float | None:
    """Two-sided exact p of a share being 1/2; below 5 % where `share_interval` excludes 1/2.

    Example:
        >>> share_test(6, 6), share_test(3, 6), share_test(0, 0)
        (0.03125, 1.0, None)
    """
    if count == 0:
        return None
    return min(1.0, 2 * float(bdtr(min(holding, count - holding), count, 0.5)))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests so that one false rejection among all stays as rare (1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted
