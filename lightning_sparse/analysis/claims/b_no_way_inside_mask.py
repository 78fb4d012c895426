"""Claim B of rules 2: inside the mask no path that was searched leads down to the pruned one."""

import dataclasses
from collections.abc import Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import (
    CUBIC,
    QUADRATIC,
    ExperimentRecords,
    Route,
    route_of,
)
from lightning_sparse.analysis.measured_descents import (
    DESCENT_RULE,
    SHARE_RULE,
)
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.share_claim import ShareClaim, every_path_climbs, path_outcomes

CLAIM = ShareClaim(
    name="B",
    statement=(
        "Inside the mask no path that was searched leads downhill from the scratch solution to the "
        "pruned one: neither the line nor a trained curve."
    ),
    rule=(
        f"{DESCENT_RULE} A seed holds if scratch:end is worse than prune:end by more than "
        "delta, and the least R of the line, the quadratic, the cubic and whatever else was "
        f"searched inside the mask is above delta. {SHARE_RULE} Needs both positive "
        "controls to pass: a climb on a trained curve says something only of a search that finds "
        "flat curves where there are some."
    ),
)

ROUTES = (
    Route("scratch:end", "prune:end"),
    Route("scratch:end", "prune:end", QUADRATIC, "sparse"),
    Route("scratch:end", "prune:end", CUBIC, "sparse"),
)


def judge(
    experiment: ExperimentRecords, *, headline_sparsity: float, quantity: Quantity
) -> ClaimResult:
    """Judge the experiment's own search, and the same with more steps in the seeds that have it."""
    routes = [*ROUTES, *_others(experiment)]
    own = CLAIM.judge(
        path_outcomes(
            experiment, routes, every_path_climbs, sparsity=headline_sparsity, quantity=quantity
        )
    )
    longer = dict(
        _with_more_steps(experiment, times, headline_sparsity, quantity)
        for times in longer_searches(experiment)
    )
    own_steps = _num_steps(experiment, ROUTES)
    others = [
        f", {part.verdict} at {steps:,}"
        for steps, part in longer.items()
        if part.verdict != own.verdict
    ]
    qualifier = f" at {own_steps:,} steps{''.join(others)}" if others else own.qualifier
    return dataclasses.replace(own, parts=tuple(longer.values()), qualifier=qualifier)


def longer_searches(experiment: ExperimentRecords) -> list[int]:
    """Return how many times the steps curves inside the mask were fitted for, beyond once."""
    return sorted({route.times for route in _searched(experiment)} - {1})


def _searched(experiment: ExperimentRecords) -> list[Route]:
    routes = dict.fromkeys(route_of(path) for path in experiment.paths)
    ends = ROUTES[0][:2]
    return [
        route
        for route in routes
        if route[:2] == ends and route.space == "sparse" and route.spectrum is None
    ]


def _others(experiment: ExperimentRecords) -> list[Route]:
    """Return what else was searched with the experiment's own steps."""
    return [route for route in _searched(experiment) if route.times == 1 and route not in ROUTES]


def _with_more_steps(
    experiment: ExperimentRecords, times: int, sparsity: float, quantity: Quantity
) -> tuple[int, ClaimResult]:
    """Return the number of steps, and what is judged of the seeds that have such fits."""
    longer = [route for route in _searched(experiment) if route.times == times]
    shorter = [*ROUTES, *(route for route in _searched(experiment) if 1 < route.times < times)]
    seeds = [
        seed
        for seed in experiment.seeds
        if any(experiment.path(route, seed, sparsity) for route in longer)
    ]
    steps = _num_steps(experiment, longer)
    part = CLAIM.part(
        f"{steps:,} steps",
        f"The same where the search went on to {times} times the steps, in the seeds that have it.",
    )
    return steps, part.judge(
        path_outcomes(
            experiment,
            [*shorter, *longer],
            every_path_climbs,
            sparsity=sparsity,
            quantity=quantity,
            seeds=seeds,
        )
    )


def _num_steps(experiment: ExperimentRecords, routes: Sequence[Route]) -> int:
    """Return the steps of the longest fit along ``routes``."""
    return max((path.num_steps for path in experiment.paths if route_of(path) in routes), default=0)


QUESTION = Question(
    claim=CLAIM,
    needs=(
        Needed(routes=ROUTES),
        # How strong the search is, is shown by the same with more steps.
        Needed(routes=tuple(route for route in ROUTES if route.is_fitted), seeds="search"),
    ),
    judge=judge,
    controls=("control: dense", "control: in the mask"),
)
