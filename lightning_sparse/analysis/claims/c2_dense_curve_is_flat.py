"""Claim C2: in the dense space a curve joins the two solutions with hardly any rise."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult
from lightning_sparse.analysis.evidence import log_curve_over_line, path_evidence
from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import RISE_RULE
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question

CLAIM = Claim(
    name="C2",
    statement=(
        "In the dense space the quadratic curve from the scratch solution to the pruned one rises "
        "by less than a tenth of what the straight line does."
    ),
    rule=(
        f"{RISE_RULE} Per seed x = log(max(M_curve, tol/2) / max(tol, 0.1 M_line)) with M_curve "
        "and tol of the dense quadratic curve and M_line of the line, both from scratch:end to "
        f"prune:end. {INTERVAL_RULE.format(side='below')} Needs a positive control that passes."
    ),
    unit="rise / max(tol, 10 % of the line's rise), geometric mean over seeds; claimed below 1",
    side="below",
    scale="log",
)

ROUTES = (Route("scratch:end", "prune:end", QUADRATIC, "dense"), Route("scratch:end", "prune:end"))


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Compare the dense quadratic curve with the line within each seed."""
    return CLAIM.judge(
        path_evidence(
            experiment,
            ROUTES,
            log_curve_over_line,
            sparsity=headline_sparsity,
            counts_reversed_ends=True,
        )
    )


QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=ROUTES),),
    judge=judge,
    controls=("positive control",),
)
