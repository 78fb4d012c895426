"""Claim C of rules 2: in the dense space a trained curve leads down where the line does not."""

from collections.abc import Sequence

from lightning_sparse.analysis.experiment import QUADRATIC, Route
from lightning_sparse.analysis.measured_descents import (
    DESCENT_RULE,
    SHARE_RULE,
    MeasuredDescent,
    both,
    opposite,
)
from lightning_sparse.analysis.question import in_most_seeds
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim

CLAIM = ShareClaim(
    name="C",
    statement=(
        "In the dense space a quadratic curve leads downhill from the scratch solution to the "
        "pruned one, where the straight line does not."
    ),
    rule=(
        f"{DESCENT_RULE} A seed holds if scratch:end is worse than prune:end by more than delta, "
        f"R <= delta on the dense quadratic curve and R > delta on the line. {SHARE_RULE} "
        "Needs the dense positive control to pass."
    ),
)

ROUTES = (Route("scratch:end", "prune:end", QUADRATIC, "dense"), Route("scratch:end", "prune:end"))


def outcome(paths: Sequence[MeasuredDescent]) -> SeedOutcome:
    """Compare the curve, which comes first, with the line."""
    curve, line = paths
    holds = both(line.has_gap, curve.is_descent, opposite(line.is_descent))
    return SeedOutcome(
        holds=holds, value=curve.descent.value, remark="" if line.has_gap else "no gap"
    )


QUESTION = in_most_seeds(CLAIM, ROUTES, outcome, controls=("control: dense",))
