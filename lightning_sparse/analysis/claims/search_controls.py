"""Positive controls of rules 2: between equals the search finds flat curves where they exist."""

from collections.abc import Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_descents import (
    BARRIER_RULE,
    SHARE_RULE,
    MeasuredDescent,
    both,
    opposite,
)
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question, in_most_seeds
from lightning_sparse.analysis.share_claim import (
    SeedOutcome,
    ShareClaim,
    ShareEvidence,
    path_outcomes,
)
from lightning_sparse.analysis.stronger_search import COUNTED_BY, seeds_searched

_RULE = (
    f"{BARRIER_RULE} A seed holds if H <= delta on the quadratic curve and H > delta on the line, "
    "both {ends}. " + SHARE_RULE + " It passes if it is supported."
)

DENSE = ShareClaim(
    name="control: dense",
    statement=(
        "The same search joins two dense solutions by a quadratic curve without a barrier, where "
        "the straight line has one (Garipov et al. 2018)."
    ),
    rule=_RULE.format(ends="from dense:end to dense2:end"),
)
DENSE_ROUTES = (
    Route("dense:end", "dense2:end", QUADRATIC, "dense"),
    Route("dense:end", "dense2:end"),
)

IN_MASK = ShareClaim(
    name="control: in the mask",
    statement=(
        "The same search joins the scratch and the pruned solution inside their mask at a lower "
        "sparsity by a quadratic curve without a barrier, where the straight line has one."
    ),
    rule=_RULE.format(
        ends="from scratch:end to prune:end at the lowest sparsity at which such a curve was "
        "fitted inside the mask, below that of the claims"
    ),
)
IN_MASK_ROUTES = (
    Route("scratch:end", "prune:end", QUADRATIC, "sparse"),
    Route("scratch:end", "prune:end"),
)


def judge_in_mask(
    experiment: ExperimentRecords,
    *,
    headline_sparsity: float,
    quantity: Quantity,
    seeds: Sequence[int] | None = None,
) -> ClaimResult:
    """Compare curve and line inside the mask of a lower sparsity, in each seed or in some."""
    sparsity = experiment.lowest_sparsity(IN_MASK_ROUTES[:1], headline_sparsity)
    if sparsity is None:
        nothing = ShareEvidence(
            outcomes={}, missing=["scratch:end to prune:end at a lower sparsity"]
        )
        return IN_MASK.judge(nothing)
    return IN_MASK.judge(
        path_outcomes(
            experiment, IN_MASK_ROUTES, outcome, sparsity=sparsity, quantity=quantity, seeds=seeds
        )
    )


def outcome(paths: Sequence[MeasuredDescent]) -> SeedOutcome:
    """Compare the curve, which comes first, with the line."""
    curve, line = paths
    return SeedOutcome(
        holds=both(curve.has_no_barrier, opposite(line.has_no_barrier)),
        value=curve.barriers.worse_end,
        remark="line without a barrier" if line.has_no_barrier else "",
    )


QUESTIONS = (
    in_most_seeds(DENSE, DENSE_ROUTES, outcome),
    Question(
        claim=IN_MASK, needs=(Needed(routes=IN_MASK_ROUTES, at="control"),), judge=judge_in_mask
    ),
)


def _judge_dense_searched(
    experiment: ExperimentRecords, *, headline_sparsity: float
) -> ClaimResult:
    return DENSE.judge(
        path_outcomes(
            experiment,
            DENSE_ROUTES,
            outcome,
            sparsity=headline_sparsity,
            quantity="loss",
            seeds=seeds_searched(experiment),
        )
    )


def _judge_in_mask_searched(
    experiment: ExperimentRecords, *, headline_sparsity: float
) -> ClaimResult:
    return judge_in_mask(
        experiment,
        headline_sparsity=headline_sparsity,
        quantity="loss",
        seeds=seeds_searched(experiment),
    )


OF_SEARCHED = (
    Question(claim=DENSE, needs=(), judge=_judge_dense_searched, counted_by=COUNTED_BY),
    Question(claim=IN_MASK, needs=(), judge=_judge_in_mask_searched, counted_by=COUNTED_BY),
)
"""The same of the seeds alone that are searched as B+ asks, whose paths are planned with these."""
