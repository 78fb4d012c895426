"""Positive control: between two dense solutions, which a flat curve joins, the search finds it."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult
from lightning_sparse.analysis.evidence import log_curve_over_line, path_evidence
from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import RISE_RULE
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question

CLAIM = Claim(
    name="positive control",
    statement=(
        "The same search joins two dense solutions by a quadratic curve that rises by less than a "
        "tenth of what the straight line does (Garipov et al. 2018)."
    ),
    rule=(
        f"{RISE_RULE} Per seed x = log(max(M_curve, tol/2) / max(tol, 0.1 M_line)) with M_curve "
        "and tol of the quadratic curve and M_line of the line, both from dense:end to dense2:end. "
        f"{INTERVAL_RULE.format(side='below')} It passes if it is supported."
    ),
    unit="rise / max(tol, 10 % of the line's rise), geometric mean over seeds; claimed below 1",
    side="below",
    scale="log",
)

ROUTES = (Route("dense:end", "dense2:end", QUADRATIC, "dense"), Route("dense:end", "dense2:end"))


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Compare the curve between two dense solutions with the line between them, in each seed."""
    return CLAIM.judge(
        path_evidence(experiment, ROUTES, log_curve_over_line, sparsity=headline_sparsity)
    )


QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=ROUTES),),
    judge=judge,
)
