"""Claim C1: with the pruned dimensions back, a curve of the same degree rises less."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult
from lightning_sparse.analysis.evidence import log_rise_ratio, path_evidence
from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import RISE_RULE
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question

CLAIM = Claim(
    name="C1",
    statement=(
        "From the scratch solution to the pruned one, the quadratic curve inside the mask rises "
        "more than the quadratic curve in the dense space."
    ),
    rule=(
        f"{RISE_RULE} Per seed x = log(max(M_sparse, f) / max(M_dense, f)) on the two quadratic "
        "curves from scratch:end to prune:end, where f is half of the larger tol of the two. "
        f"{INTERVAL_RULE.format(side='above')} Needs a positive control that passes."
    ),
    unit="rise inside the mask / rise in dense space, geometric mean over seeds; claimed above 1",
    side="above",
    scale="log",
)

ROUTES = (
    Route("scratch:end", "prune:end", QUADRATIC, "sparse"),
    Route("scratch:end", "prune:end", QUADRATIC, "dense"),
)


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Compare the two quadratic curves within each seed."""
    return CLAIM.judge(
        path_evidence(
            experiment,
            ROUTES,
            log_rise_ratio,
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
