"""Claim B+: inside the mask even a much stronger search finds no way down."""

from collections.abc import Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_descents import DESCENT_RULE, SHARE_RULE, measure_descent
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.share_claim import (
    ShareClaim,
    ShareEvidence,
    every_path_climbs,
    joined,
    path_outcomes,
)
from lightning_sparse.analysis.stronger_search import (
    COUNTED_BY,
    leads_down,
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
        "each number of steps, is above delta; where one is not, the seed is not searched on. "
        f"{SHARE_RULE} Needs both positive controls to pass in the same seeds, as B does."
    ),
)


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge the seeds that were searched, by everything that was to be searched in them.

    A seed in which one path leads down is judged by what was searched in it until then.
    """
    routes = with_steps(times_in(experiment, headline_sparsity))

    def found(routes: Sequence[Route], seeds: Sequence[int]) -> ShareEvidence:
        return path_outcomes(
            experiment,
            routes,
            every_path_climbs,
            sparsity=headline_sparsity,
            quantity="loss",
            seeds=seeds,
        )

    seeds = seeds_searched(experiment)
    lost = {
        seed: made
        for seed in seeds
        if (made := _made_where_lost(experiment, seed, headline_sparsity, routes))
    }
    others = found(routes, [seed for seed in seeds if seed not in lost])
    return CLAIM.judge(joined([others, *(found(made, [seed]) for seed, made in lost.items())]))


def _made_where_lost(
    experiment: ExperimentRecords, seed: int, sparsity: float, routes: Sequence[Route]
) -> list[Route]:
    """Return the line and what was searched in a seed if a path leads down there, else nothing."""
    made = {route: path for route in routes if (path := experiment.path(route, seed, sparsity))}
    if not any(leads_down(measure_descent(path)) for path in made.values()):
        return []
    return [route for route in routes if route in made or not route.is_fitted]


QUESTION = Question(
    claim=CLAIM,
    needs=(),
    judge=judge,
    controls=("control: dense", "control: in the mask"),
    in_short="no way inside the mask, share of seeds",
    speaks={"subspace": True},
    counted_by=COUNTED_BY,
)
