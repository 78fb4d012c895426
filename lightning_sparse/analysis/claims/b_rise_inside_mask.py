"""Claim B: inside the mask, the scratch and the pruned solution are separated by a rise."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult
from lightning_sparse.analysis.evidence import log_rise_over_tolerance, path_evidence
from lightning_sparse.analysis.experiment import CUBIC, QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import RISE_RULE
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question

CLAIM = Claim(
    name="B",
    statement=(
        "Inside the mask the loss rises on the line and on every trained curve from the scratch "
        "solution to the pruned one."
    ),
    rule=(
        f"{RISE_RULE} Per seed x = log(max(M, tol/2) / tol) on the path inside the mask from "
        f"scratch:end to prune:end. {INTERVAL_RULE.format(side='above')} The claim needs line, "
        "quadratic and cubic "
        "alike, and a positive control that passes: a rise on a trained curve says something only "
        "of a search that finds flat curves where there are some."
    ),
    unit="largest rise / tol, geometric mean over seeds; claimed above 1",
    side="above",
    scale="log",
)

ROUTES = {
    "line": Route("scratch:end", "prune:end"),
    "quadratic": Route("scratch:end", "prune:end", QUADRATIC, "sparse"),
    "cubic": Route("scratch:end", "prune:end", CUBIC, "sparse"),
}


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge line, quadratic and cubic, and the claim by all of them."""
    return CLAIM.combine(
        [
            CLAIM.part(name, f"The loss rises on the {route.name}.").judge(
                path_evidence(
                    experiment,
                    [route],
                    log_rise_over_tolerance,
                    sparsity=headline_sparsity,
                    counts_reversed_ends=True,
                )
            )
            for name, route in ROUTES.items()
        ]
    )


QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=tuple(ROUTES.values())),),
    judge=judge,
    controls=("positive control",),
    searches_nothing=("B: line",),
)
