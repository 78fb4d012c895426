"""Interleaved measurement of several sides, and verdicts on what is claimed of them.

One round measures every side once, in an order that rotates from round to round, so that a machine
that is slow for a while is slow for all. A claim is judged on one number per round (a ratio of two
sides of the same round, mostly), of which the median and its 95 % interval are estimated.
"""

import itertools
import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal, final

Round = Mapping[str, float]
"""What one round measured, by side."""

Verdict = Literal["holds", "falls short", "not resolved", "measured"]

# Below six numbers no two of them enclose the median with 95 % confidence; below eight, with 99 %.
FEWEST_ROUNDS = 6
FIRST_LOOK = 8
_ERROR = 0.05
_EARLY_ERROR = 0.01
# From here on the normal approximation of the signed-rank distribution is good to two ranks.
_LARGE = 40


class AbstractQuantity(ABC):
    """A number that can be computed from every round alone.

    Attributes:
        is_logarithm: Whether it is a logarithm already; other quantities are positive, and their
            intervals are found on a logarithmic scale.
    """

    is_logarithm: ClassVar[bool] = False

    @property
    @abstractmethod
    def sides(self) -> tuple[str, ...]:
        """Names of the sides that it needs."""

    @abstractmethod
    def value(self, measured: Round) -> float:
        """Compute it."""


@final
@dataclass(frozen=True)
class Ratio(AbstractQuantity):
    """Cost of one side in units of another's.

    Attributes:
        ours: The one side.
        theirs: The unit.
        times: So many of the one; below 1 for a part of it.
    """

    ours: str
    theirs: str
    times: float = 1.0

    @property
    def sides(self) -> tuple[str, ...]:
        """Both."""
        return self.ours, self.theirs

    def value(self, measured: Round) -> float:
        """Divide."""
        return self.times * measured[self.ours] / measured[self.theirs]


@final
@dataclass(frozen=True, kw_only=True)
class Amortised(AbstractQuantity):
    """Mean cost of steps with what is done beside every so many of them, in units of a third side.

    Attributes:
        usual: The step.
        rare: What is done beside it.
        every: One in so many steps has that.
        theirs: The unit.
    """

    usual: str
    rare: str
    every: int
    theirs: str

    @property
    def sides(self) -> tuple[str, ...]:
        """All three."""
        return self.usual, self.rare, self.theirs

    def value(self, measured: Round) -> float:
        """Average, and divide."""
        mean = measured[self.usual] + measured[self.rare] / self.every
        return mean / measured[self.theirs]


@final
@dataclass(frozen=True)
class Absolute(AbstractQuantity):
    """Cost of one side, in its own unit."""

    side: str

    @property
    def sides(self) -> tuple[str, ...]:
        """The one side."""
        return (self.side,)

    def value(self, measured: Round) -> float:
        """Look it up."""
        return measured[self.side]


@final
@dataclass(frozen=True)
class Exponent(AbstractQuantity):
    """The p of cost = c times size to the power p, by least squares on both logarithms.

    Attributes:
        sizes: Size of each side, in any unit.
    """

    is_logarithm: ClassVar[bool] = True

    sizes: Mapping[str, float]

    @property
    def sides(self) -> tuple[str, ...]:
        """All sizes."""
        return tuple(self.sizes)

    def value(self, measured: Round) -> float:
        """Fit the straight line."""
        sizes = [math.log(size) for size in self.sizes.values()]
        costs = [math.log(measured[side]) for side in self.sizes]
        return statistics.linear_regression(sizes, costs).slope


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of a quantity.

    Attributes:
        statement: The claim as a phrase for a table.
        quantity: What it is about.
        bar: What the quantity must stay below; None if it is measured and nothing is promised.
        slack: Relative allowance on top of the bar, within which a claim can still be resolved;
            0 where the claim is to be strictly ahead.
    """

    statement: str
    quantity: AbstractQuantity
    bar: float | None = None
    slack: float = 0.005

    def judge(self, low: float, high: float) -> Verdict:
        """Compare the 95 % interval with the bar.

        Example:
            >>> claim = Claim(statement="", quantity=Ratio("a", "b"), bar=1.01)
            >>> claim.judge(1.0, 1.014), claim.judge(1.0, 1.02), claim.judge(1.02, 1.03)
            ('holds', 'not resolved', 'falls short')
        """
        if self.bar is None:
            return "measured"
        limit = self.bar * (1 + self.slack)
        if high < limit:
            return "holds"
        return "falls short" if low > limit else "not resolved"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim as it came out.

    Attributes:
        claim: The claim.
        estimate: Median over rounds (Hodges-Lehmann).
        low: Lower end of its 95 % interval.
        high: Upper end.
        num_rounds: Rounds behind it.
        verdict: What follows.
    """

    claim: Claim
    estimate: float
    low: float
    high: float
    num_rounds: int
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way of doing the work.

    Attributes:
        what: What it is and, for a peer, its version and where its documentation says so.
        measure: Does the work once and returns what that cost.
        peak_mb: Most memory that it and what it holds took on a GPU, in units of 10^6 bytes; None
            elsewhere.
    """

    what: str
    measure: Callable[[], float]
    peak_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Sides that are measured against each other, and what is claimed of them.

    Attributes:
        name: What all sides do, and at which size.
        sides: By name, in the order of the table.
        claims: About these sides.
        unit: Of what the sides return: ``s``, or ``MB`` (10^6 bytes).
        seconds: Share of the time that this trial may take, in seconds at a budget of 1.
        num_rounds: Exactly so many rounds, for what does not vary; None for as many as it takes.
    """

    name: str
    sides: Mapping[str, Side]
    claims: Sequence[Claim]
    unit: Literal["s", "MB"] = "s"
    seconds: float = 30.0
    num_rounds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out of a trial: the measurements by side, in order of rounds, and the findings."""

    trial: Trial
    measured: Mapping[str, Sequence[float]] = field(repr=False)
    findings: Sequence[Finding]


def run_trial(
    trial: Trial, *, budget: float = 1.0, clock: Callable[[], float] = time.perf_counter
) -> Outcome:
    """Measure round after round until every claim is resolved or the time is spent.

    The claims are looked at after eight rounds and then whenever their number has doubled, and to
    stop early they must be resolved at 99 %: who looks often finds, sooner or later, an interval
    that errs. Sides whose claims are all resolved rest from then on.

    Args:
        trial: What to measure.
        budget: Multiple of the trial's own time.
        clock: Tells the time that the budget is counted in.
    """
    measured: dict[str, list[float]] = {name: [] for name in trial.sides}
    active = list(trial.sides)
    until = clock() + budget * trial.seconds
    next_look = trial.num_rounds or FIRST_LOOK
    for number in itertools.count():
        for name in _rotated(active, number):
            measured[name].append(trial.sides[name].measure())
        if number + 1 == next_look:
            active = _still_needed(trial, measured)
            next_look *= 2
            if trial.num_rounds or not active:
                break
        if number + 1 >= FEWEST_ROUNDS and clock() >= until:
            break
    return Outcome(
        trial=trial,
        measured=measured,
        findings=[find(claim, measured) for claim in trial.claims],
    )


def find(claim: Claim, measured: Mapping[str, Sequence[float]], error: float = _ERROR) -> Finding:
    """Estimate a claim's quantity from the rounds in which all of its sides were measured."""
    sides = claim.quantity.sides
    rounds = list(zip(*(measured[side] for side in sides), strict=False))
    values = [claim.quantity.value(dict(zip(sides, row, strict=True))) for row in rounds]
    if claim.quantity.is_logarithm:
        positive = [math.exp(value) for value in values]
        estimate, low, high = (math.log(end) for end in median_interval(positive, error))
    else:
        estimate, low, high = median_interval(values, error)
    return Finding(
        claim=claim,
        estimate=estimate,
        low=low,
        high=high,
        num_rounds=len(values),
        verdict=claim.judge(low, high),
    )


def median_interval(values: Sequence[float], error: float = _ERROR) -> tuple[float, float, float]:
    """Estimate the median of positive numbers, and cover it, by Hodges and Lehmann.

    The geometric means of all pairs are ordered, and the signed-rank distribution says how many to
    leave out at either end (Hollander, Wolfe & Chicken, "Nonparametric Statistical Methods", 3rd
    edition, section 3.3, on logarithms). Not Student's t as for the claims over seeds: times have
    long tails, and one stall of the machine would widen a mean's interval beyond use.

    Args:
        values: One per round.
        error: Share of intervals that may miss, both ends together.

    Returns:
        Estimate, lower and upper end; with fewer than six numbers the ends are the extremes, which
        cover less.

    Example:
        >>> median_interval([1.0, 1.0, 1.0, 1.0, 1.0, 90.0])[:2]
        (1.0, 1.0)
    """
    logs = [math.log(value) for value in values]
    pairs = sorted(
        (first + second) / 2 for first, second in itertools.combinations_with_replacement(logs, 2)
    )
    left_out = _ranks_left_out(len(logs), error)
    low, high = pairs[left_out], pairs[-1 - left_out]
    return math.exp(statistics.median(pairs)), math.exp(low), math.exp(high)


@cache
def _ranks_left_out(n: int, error: float) -> int:
    """The most pairs at either end that the interval may leave out."""
    if n > _LARGE:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        quantile = statistics.NormalDist().inv_cdf(1 - error / 2)
        return math.floor(n * (n + 1) / 4 - quantile * spread - 0.5)
    counts = [1]
    for rank in range(1, n + 1):
        shifted = [0] * rank + counts
        counts = [a + b for a, b in zip(counts + [0] * rank, shifted, strict=True)]
    tail, total = 0, 2**n
    for sum_of_ranks, count in enumerate(counts):
        tail += count
        if tail / total > error / 2:
            return max(0, sum_of_ranks - 1)
    raise AssertionError


def _still_needed(trial: Trial, measured: Mapping[str, Sequence[float]]) -> list[str]:
    open_claims = [
        claim
        for claim in trial.claims
        if find(claim, measured, _EARLY_ERROR).verdict == "not resolved"
    ]
    needed = {side for claim in open_claims for side in claim.quantity.sides}
    return [name for name in trial.sides if name in needed]


def _rotated(names: Sequence[str], number: int) -> list[str]:
    start = number % len(names)
    return [*names[start:], *names[:start]]
