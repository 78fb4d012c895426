"""Descent, rise and barrier of a recorded path, and whether they stay in the margin: rules 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_sparse.analysis.measured_rises import Quantity, measure_rise
from lightning_sparse.errors import UserError
from lightning_sparse.records import PathRecord
from lightning_sparse.rises import Barriers, Rise, descent, margin

DESCENT_RULE = (
    "L is the mean cross-entropy on the training subset along the path; delta is 1 % of ln(number "
    "of classes). R is the largest rise on the way from t = 0 to the first later t at which L is "
    "L(1) or below."
)
BARRIER_RULE = (
    "L is the mean cross-entropy on the training subset along the path; delta is 1 % of ln(number "
    "of classes). H is the largest L(t) on [0, 1] minus the larger of L(0) and L(1)."
)
SHARE_RULE = (
    "Supported if the exact (Clopper-Pearson) 95 % interval of the share of seeds that hold lies "
    "above 1/2, contradicted if it lies below, else undecided."
)


@dataclass(frozen=True, kw_only=True)
class MeasuredDescent:
    """What the claims of rules 2 use of one path; in nats.

    Attributes:
        descent: R and where it is.
        rise: M likewise.
        barriers: H, over the worse end, and the barriers of the literature.
        margin: delta.
        first: Value at t = 0.
        last: Value at t = 1.
        descent_error: Standard error of R over images; 0 where all were measured.
        barrier_error: Of H likewise.
    """

    descent: Rise
    rise: Rise
    barriers: Barriers
    margin: float
    first: float
    last: float
    descent_error: float
    barrier_error: float

    @property
    def is_descent(self) -> bool | None:
        """Whether R <= delta; None if it was measured too coarsely to say."""
        return _is_within(self.descent.value, self.descent_error, self.margin)

    @property
    def counted(self) -> Rise | None:
        """The descent, if it climbs by more than delta."""
        return self.descent if self.descent.value > self.margin else None

    @property
    def has_no_barrier(self) -> bool | None:
        """Whether H <= delta; None if it was measured too coarsely to say."""
        return _is_within(self.barriers.worse_end, self.barrier_error, self.margin)

    @property
    def has_gap(self) -> bool:
        """Whether the start is worse than the end by more than delta."""
        return self.first - self.last > self.margin


def measure_descent(path: PathRecord, quantity: Quantity = "loss") -> MeasuredDescent:
    """Measure the loss or the objective along a recorded path by rules 2.

    The objective adds a number that is known without error, so both have the errors of the loss.

    Raises:
        UserError: If the record does not say of how many classes it is, or is damaged.
    """
    if path.num_classes is None:
        raise UserError(
            f"path {path.run_id}: its record is of rules 1 and does not say how many classes there "
            "are; judge it by rules 1 (make report RULES=1), or measure it again"
        )
    of_rules_1 = measure_rise(path, quantity)
    ts = [point.t for point in path.points]
    values = [getattr(point.train, quantity) for point in path.points]
    return MeasuredDescent(
        descent=descent(ts, values),
        rise=of_rules_1.rise,
        barriers=of_rules_1.barriers,
        margin=margin(path.num_classes),
        first=of_rules_1.first,
        last=of_rules_1.last,
        descent_error=path.descent_standard_error or 0.0,
        barrier_error=path.barrier_standard_error or 0.0,
    )


def both(*answers: bool | None) -> bool | None:
    """Whether all answers are yes; a no settles it, whatever is unknown.

    Example:
        >>> both(True, True), both(True, None), both(False, None)
        (True, None, False)
    """
    if False in answers:
        return False
    return None if None in answers else True


def opposite(answer: bool | None) -> bool | None:  # noqa: FBT001 (an answer, not a switch)
    """Turn yes into no; what is unknown stays so."""
    return None if answer is None else not answer


def unrefined_remarks(paths: Sequence[PathRecord]) -> list[str]:
    """Say on how many paths the refinement did not come to rest."""
    count = sum(not path.refinement_converged for path in paths)
    return [f"refinement did not come to rest on {count} of {len(paths)} paths"] if count else []


def _is_within(value: float, standard_error: float, limit: float) -> bool | None:
    if abs(value - limit) <= 2 * standard_error and standard_error > 0:
        return None
    return bool(value <= limit)  # numbers of NumPy are compared to a type of its own
