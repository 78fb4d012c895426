"""Whole numbers in given proportions, none above its limit, that add up exactly."""

from collections.abc import Sequence
from fractions import Fraction


def apportioned(total: int, shares: Sequence[float], limits: Sequence[int]) -> list[int]:
    """Share out ``total`` by largest remainders; what a limit cuts off goes to the others.

    Exact: shares are taken as the fractions that they are. Among equal remainders earlier ones
    come first.

    Args:
        total: At most the sum of ``limits``.
        shares: Proportions, at least 0; if all that are left are 0, equal parts.
        limits: The most that each may get.

    Raises:
        ValueError: If the limits do not leave room for ``total``.

    Example:
        >>> apportioned(10, [0.5, 0.25, 0.25], [3, 9, 9])
        [3, 4, 3]
    """
    if total > sum(limits):
        raise ValueError(f"cannot share out {total} below limits of {sum(limits)} together")
    given = [0] * len(limits)
    while missing := total - sum(given):
        open_ones = [i for i, limit in enumerate(limits) if given[i] < limit]
        parts = [Fraction(shares[i]) for i in open_ones]
        whole = sum(parts) or len(parts)
        exact = [missing * (part if sum(parts) else 1) / Fraction(whole) for part in parts]
        floors = [int(part) for part in exact]
        by_remainder = sorted(range(len(exact)), key=lambda k: floors[k] - exact[k])
        for k in by_remainder[: missing - sum(floors)]:
            floors[k] += 1
        for i, number in zip(open_ones, floors, strict=True):
            given[i] = min(limits[i], given[i] + number)
    return given
