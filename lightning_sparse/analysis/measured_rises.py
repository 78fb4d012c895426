"""The largest rise along a recorded path, and how large a rise must be to count."""

from dataclasses import dataclass
from typing import Literal

from lightning_sparse.errors import UserError
from lightning_sparse.records import PathPoint, PathRecord
from lightning_sparse.rises import Barriers, Rise, barriers, largest_rise, tolerance

Quantity = Literal["loss", "objective"]

RISE_RULE = (
    "M is the largest rise along the path, max of L(t) - L(s) over s < t in [0, 1], where L is the "
    "mean cross-entropy on the training subset. tol is the larger of two standard errors of L (the "
    "larger standard error of the two points that attain M, of the two ends if M = 0) and 1 % of "
    "|L(0) - L(1)|."
)

# A loss is a sum of float32 numbers: what is smaller than this is rounding. It also keeps the
# tolerance positive where a loss is zero on every image.
SMALLEST_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class MeasuredRise:
    """What the claims use of one path; on the fixed training subset, in nats.

    Attributes:
        rise: The largest rise M over [0, 1] and where it is.
        tolerance: Smallest rise that counts: two standard errors of the loss (the larger one of
            the two points that attain M; of the two ends if nothing rises), and at least 1 % of
            the difference between the ends.
        barriers: The three barriers of the literature, for comparison.
        first: Value at t = 0.
        last: Value at t = 1.
    """

    rise: Rise
    tolerance: float
    barriers: Barriers
    first: float
    last: float

    @property
    def floored(self) -> float:
        """The rise, and half the tolerance where it is smaller than that.

        Half the tolerance is at least one standard error; rises below it cannot be told from each
        other or from none. So a rise of zero has a logarithm.
        """
        return max(self.rise.value, self.tolerance / 2)

    @property
    def counted(self) -> Rise | None:
        """The rise, if it is above the tolerance."""
        return self.rise if self.rise.value > self.tolerance else None

    @property
    def ends_are_reversed(self) -> bool:
        """Whether the end at t = 1 is the worse one."""
        return self.last > self.first


def measure_rise(path: PathRecord, quantity: Quantity = "loss") -> MeasuredRise:
    """Measure the rise of the loss or of the objective along a recorded path.

    The objective adds a number that is known without error to the loss, so both have the standard
    error of the loss.

    Raises:
        UserError: If the points do not increase in t or do not contain both ends exactly.
    """
    ts = [point.t for point in path.points]
    if 0.0 not in ts or 1.0 not in ts:
        raise UserError(
            f"path {path.run_id}: no point at exactly t = 0 and t = 1; measure it again"
        )
    values = [getattr(point.train, quantity) for point in path.points]
    try:
        rise = largest_rise(ts, values)
    except ValueError as error:
        raise UserError(f"path {path.run_id}: {error}; measure it again") from error
    first, last = path.points[ts.index(0.0)], path.points[ts.index(1.0)]
    if rise.value > 0:
        pair = path.points[ts.index(rise.from_t)], path.points[ts.index(rise.to_t)]
    else:
        pair = first, last
    return MeasuredRise(
        rise=rise,
        tolerance=_tolerance(pair, first=values[ts.index(0.0)], last=values[ts.index(1.0)]),
        barriers=barriers(ts, values),
        first=values[ts.index(0.0)],
        last=values[ts.index(1.0)],
    )


def _tolerance(pair: tuple[PathPoint, PathPoint], *, first: float, last: float) -> float:
    standard_error = max(point.train.loss_standard_error for point in pair)
    counted = tolerance(standard_error=standard_error, first=first, last=last)
    return max(counted, SMALLEST_TOLERANCE)
