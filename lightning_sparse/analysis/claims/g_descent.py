"""Claim G: is the scratch solution held by the mask, more than the pruned one is?"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import complete, missing_words
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.measured_descents import unrefined_remarks
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rays import LEAST, ROUTES, decrease

_MOST_WITHOUT = 0.2
NO_DESCENT = ": no descent"

CLAIM = Claim(
    name="G",
    statement=(
        "Straight down the gradient, what lies outside the mask promises more of the decrease at "
        "the scratch solution than at the pruned one."
    ),
    rule=(
        "Along the negative gradient of the mean cross-entropy on the training subset, restricted "
        "to weights outside the mask (off) or inside it (in), the largest decrease in nats. Per "
        "seed x = [ln(off / in) at scratch:end] - [ln(off / in) at prune:end]. A decrease below "
        "1e-6 nats counts as none: its seed is left out, and more than one such seed in five leave "
        "the claim undecided."
    ),
    unit="ratio of the decreases outside and inside the mask at scratch:end over that at "
    "prune:end, geometric mean; claimed above 1",
    side="above",
    scale="log",
)


def judge(
    experiment: ExperimentRecords, *, headline_sparsity: float, quantity: Quantity
) -> ClaimResult:
    """Compare both points in each seed in which all four rays go down."""
    found = {
        seed: [experiment.path(route, seed, headline_sparsity) for route in ROUTES]
        for seed in experiment.seeds
    }
    rays = {seed: present for seed, items in found.items() if (present := complete(items))}
    flat = [ray for items in rays.values() for ray in items]
    values = {
        seed: [decrease(ray, quantity) for ray in items] for seed, items in sorted(rays.items())
    }
    falling = {seed: item for seed, item in values.items() if min(item) >= LEAST}
    names = [experiment.label(route, headline_sparsity) for route in ROUTES]
    evidence = Evidence(
        values={seed: _ratio_of_ratios(item) for seed, item in falling.items()},
        on_objective={},
        records=[ray.run_id for ray in flat],
        missing=missing_words(names, found),
        remarks=[*_without_remarks(values, falling), *unrefined_remarks(flat)],
    )
    result = judge_mean(CLAIM, evidence)
    if len(values) - len(falling) <= _MOST_WITHOUT * len(values):
        return result
    note = BETWEEN_REMARKS.join([result.note, f"alone it would be {result.verdict}"])
    return dataclasses.replace(result, verdict="undecided", qualifier=NO_DESCENT, note=note)


def _ratio_of_ratios(decreases: Sequence[float]) -> float:
    off_here, in_here, off_there, in_there = decreases
    return math.log(off_here / in_here) - math.log(off_there / in_there)


def _without_remarks(
    values: Mapping[int, Sequence[float]], falling: Mapping[int, Sequence[float]]
) -> list[str]:
    without = [str(seed) for seed in values if seed not in falling]
    return [f"no descent on a ray of seed {', '.join(without)}"] if without else []


QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=ROUTES),),
    judge=judge,
    in_short="the way down lies outside at S more than at P, ratio",
    speaks={"subspace": True},
)
