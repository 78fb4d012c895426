"""How often a number of seeds decides a claim of rules 2, and how many seeds would.

``python -m lightning_sparse.analysis.power`` prints the table that the default number of seeds of
``make reproduce`` was chosen by.
"""

import math
import statistics
import sys
from collections.abc import Callable, Sequence

from scipy.special import bdtr, nctdtr, stdtrit

from lightning_sparse.analysis.statistics import CONFIDENCE, FEWEST_SEEDS, share_interval

CHANCE = 0.8
"""With what probability a number of seeds should decide before it is recommended."""

MOST_SEEDS = 200
"""Beyond it no number is named: the effect is too small for more of the same."""


def fewest_holding(num_seeds: int) -> int | None:
    """Of so many seeds, how many must hold for a share above 1/2; None if all do not suffice.

    Example:
        >>> [fewest_holding(n) for n in (5, 6, 8, 9, 12, 20)]
        [None, 6, 8, 8, 10, 15]
    """
    for holding in range(num_seeds // 2, num_seeds + 1):
        interval = share_interval(holding, num_seeds)
        if interval and interval[0] > 1 / 2:
            return holding
    return None


def power_of_share(num_seeds: int, share: float) -> float:
    """Probability that so many seeds support a claim that holds in this share of all seeds.

    Example:
        >>> [round(power_of_share(n, 0.95), 2) for n in (5, 6, 8, 9, 20)]
        [0.0, 0.74, 0.66, 0.93, 1.0]
    """
    needed = fewest_holding(num_seeds)
    return 0.0 if needed is None else 1 - float(bdtr(needed - 1, num_seeds, share))


def power_of_mean(num_seeds: int, effect: float) -> float:
    """Probability that so many seeds find a mean that is ``effect`` standard deviations from 0.

    By Student's t at 95 %, two-sided, for differences that scatter normally.

    Example:
        >>> [round(power_of_mean(n, 2.0), 2) for n in (3, 6)]
        [0.47, 0.97]
    """
    if num_seeds < FEWEST_SEEDS:
        return 0.0
    freedom = num_seeds - 1
    quantile = float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
    shift = abs(effect) * math.sqrt(num_seeds)
    return float(1 - nctdtr(freedom, shift, quantile) + nctdtr(freedom, shift, -quantile))


def seeds_for_share(share: float, at_least: int) -> int | None:
    """Fewest seeds that decide, on either side of 1/2, a share like the one seen; None if too many.

    Example:
        >>> seeds_for_share(1.0, 3), seeds_for_share(0.8, 6), seeds_for_share(0.5, 6)
        (6, 20, None)
    """
    likely = max(share, 1 - share)
    return _fewest(lambda count: power_of_share(count, likely), at_least)


def seeds_for_mean(values: Sequence[float], at_least: int) -> int | None:
    """Fewest seeds that decide a mean and a scatter like those seen; None if too many.

    Example:
        >>> seeds_for_mean([1.0, 2.0, 0.0], 3), seeds_for_mean([1.0, -1.0], 2)
        (10, None)
    """
    if len(values) < FEWEST_SEEDS:
        return None
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    if deviation == 0:
        return at_least if mean else None
    return _fewest(lambda count: power_of_mean(count, mean / deviation), at_least)


def _fewest(power: Callable[[int], float], at_least: int) -> int | None:
    return next((n for n in range(at_least, MOST_SEEDS + 1) if power(n) >= CHANCE), None)


SHARES = (0.9, 0.95, 0.98, 1.0)
EFFECTS = (1.0, 1.5, 2.0, 2.5)


def table(numbers: Sequence[int] = (3, 6, 7, 8, 9, 12, 20)) -> str:
    """Write down how often each number of seeds decides, for shares and for means."""
    heads = [f"share {share:g}" for share in SHARES] + [f"mean {effect:g} sd" for effect in EFFECTS]
    lines = ["seeds  " + "  ".join(f"{head:>10}" for head in heads)]
    for number in numbers:
        chances = [power_of_share(number, share) for share in SHARES]
        chances += [power_of_mean(number, effect) for effect in EFFECTS]
        lines.append(f"{number:>5}  " + "  ".join(f"{chance:>10.3f}" for chance in chances))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
