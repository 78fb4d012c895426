"""Claim A: from each start the straight line to the pruned solution does not climb."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult
from lightning_sparse.analysis.evidence import log_rise_over_tolerance, path_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import RISE_RULE
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question

CLAIM = Claim(
    name="A",
    statement="On the straight line from each start to the pruned solution the loss does not rise.",
    rule=(
        f"{RISE_RULE} Per seed x = log(max(M, tol/2) / tol) on the line from the start to "
        f"prune:end. {INTERVAL_RULE.format(side='below')} The claim needs all three starts."
    ),
    unit="largest rise / tol, geometric mean over seeds; claimed below 1",
    side="below",
    scale="log",
)

ROUTES = tuple(
    Route(start, "prune:end") for start in ("dense:start", "lottery:start", "scratch:start")
)


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge the line from each of the three starts, and the claim by all of them.

    A rise below half of tol, one standard error, counts as half of tol: the intervals of falling
    lines are then narrow, or of zero width, at 0.5.
    """
    return CLAIM.combine(
        [
            CLAIM.part(
                route.start,
                f"On the straight line from {route.start} to prune:end the loss does not rise.",
            ).judge(
                path_evidence(
                    experiment, [route], log_rise_over_tolerance, sparsity=headline_sparsity
                )
            )
            for route in ROUTES
        ]
    )


# What else starts there decides nothing, and is drawn for comparison.
_CONTROLS = (Route("scratch:start", "scratch:end"), Route("dense:start", "dense:end"))

QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=ROUTES), Needed(routes=_CONTROLS, decides=False)),
    judge=judge,
)
