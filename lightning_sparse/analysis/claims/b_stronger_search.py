"""Claim B+: inside the mask even a much stronger search finds no way down."""

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.measured_descents import DESCENT_RULE, SHARE_RULE
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.share_claim import ShareClaim, every_path_climbs, path_outcomes
from lightning_sparse.analysis.stronger_search import (
    COUNTED_BY,
    seeds_searched,
    times_in,
    with_steps,
)

CLAIM = ShareClaim(
    name="B+",
    statement=(
        "Inside the mask no path leads downhill from the scratch solution to the pruned one, "
        "however strongly one searches: neither the line, nor curves of degree 2, 3 and 5, nor "
        "chains of 5 and 9 bends that go where the loss is highest."
    ),
    rule=(
        f"{DESCENT_RULE} A seed holds if scratch:end is worse than prune:end by more than delta, "
        "and the least R of the line and of all curves and chains, each fitted three times with "
        f"each number of steps, is above delta. {SHARE_RULE} Needs both positive controls to pass "
        "in the same seeds, as B does."
    ),
)


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge the seeds that were searched, by everything that was to be searched in them."""
    routes = with_steps(times_in(experiment, headline_sparsity))
    return CLAIM.judge(
        path_outcomes(
            experiment,
            routes,
            every_path_climbs,
            sparsity=headline_sparsity,
            quantity="loss",
            seeds=seeds_searched(experiment),
        )
    )


QUESTION = Question(
    claim=CLAIM,
    needs=(),
    judge=judge,
    controls=("control: dense", "control: in the mask"),
    in_short="no way inside the mask, share of seeds",
    speaks={"subspace": True},
    counted_by=COUNTED_BY,
)
