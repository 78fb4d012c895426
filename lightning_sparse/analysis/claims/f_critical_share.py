"""Claims F1 and F2: how many coordinates must be freed, and does it matter which?"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.critical_share import (
    CriticalShare,
    critical_share,
    is_complete,
    seeds_with_shares,
    tried_in,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.question import Question

_HALF = 0.5
_MOST_CENSORED = 0.2
SEARCH_TOO_WEAK = ": search too weak"

_RULE = (
    "x* is the smallest share x of the coordinates outside the mask, in each layer the first in an "
    "order, with which the least R of two fitted quadratic curves from scratch:end to prune:end is "
    "at most delta, on the running minimum over x: 0, 1, 2, 5, 10, 25, 50, 100 %, then ln x is "
    "bisected to a factor of 1.5. A seed in which all of them fail is censored, and more than one "
    "in five leave the claim undecided. Where the mask alone succeeds, x* counts as 1 %."
)
F1 = Claim(
    name="F1",
    statement="Less than half of the coordinates outside the mask, drawn at random, suffice for a "
    "quadratic curve to lead downhill from the scratch solution to the pruned one.",
    rule=f"{_RULE} Per seed ln(x* / 50 %), random order.",
    unit="critical share over 50 %, geometric mean; claimed below 1",
    side="below",
    scale="log",
)
F2 = Claim(
    name="F2",
    statement="Fewer coordinates suffice if they are chosen than if they are drawn at random.",
    rule=f"{_RULE} Per seed ln x*(random) - ln x*(chosen).",
    unit="critical share of a random order over that of a chosen one, geometric mean; claimed "
    "above 1",
    side="above",
    scale="log",
)

Found = Mapping[int, CriticalShare]


def judge_few(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge F1."""
    found, missing = _found(experiment, "random", headline_sparsity)
    logs = {seed: one.log for seed, one in found.items()}
    values = {seed: log - math.log(_HALF) for seed, log in logs.items() if log is not None}
    return _judged(F1, values, [found], missing)


def judge_choice(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge F2 by its two orders."""
    random, lacking = _found(experiment, "random", headline_sparsity)
    parts = []
    for order, words in (
        ("gradient", "their gradients"),
        ("magnitude", "their magnitudes in the dense solution"),
    ):
        chosen, missing = _found(experiment, order, headline_sparsity)
        pairs = {seed: (random[seed].log, chosen[seed].log) for seed in random.keys() & chosen}
        values = {
            seed: first - second
            for seed, (first, second) in sorted(pairs.items())
            if first is not None and second is not None
        }
        part = F2.part(order, f"Fewer coordinates suffice if {words} choose them.")
        parts.append(_judged(part, values, [random, chosen], [*lacking, *missing]))
    return _combined(parts)


def _combined(parts: Sequence[ClaimResult]) -> ClaimResult:
    """Join the two orders: supported if both are, contradicted if one is, at twice its p."""
    whole = dataclasses.replace(F2, refuted="contradicted").combine(parts)
    shown = next(
        part for part in parts if (part.verdict, part.estimate) == (whole.verdict, whole.estimate)
    )
    ps = [part.p for part in parts if part.p is not None]
    p = max(ps, default=None)
    if whole.verdict == "contradicted" and shown.p is not None:
        p = min(1.0, len(parts) * shown.p)
    undecided = [part.qualifier for part in parts if part.verdict == "undecided"]
    qualifier = max(undecided) if whole.verdict == "undecided" else ""
    return dataclasses.replace(whole, rules=2, p=p, qualifier=qualifier, by_seed=shown.by_seed)


def _found(
    experiment: ExperimentRecords, order: str, sparsity: float
) -> tuple[dict[int, CriticalShare], list[str]]:
    found, missing = {}, []
    for seed in seeds_with_shares(experiment):
        tried, margin = tried_in(experiment, seed, order, sparsity)
        if is_complete(tried, margin):
            found[seed] = critical_share(tried, margin)
        else:
            missing.append(f"shares by {order} of seed {seed}")
    return found, missing


def _judged(
    claim: Claim, values: Mapping[int, float], found: Sequence[Found], missing: Sequence[str]
) -> ClaimResult:
    everywhere = set.intersection(*(set(one) for one in found))
    censored = sorted(seed for seed in everywhere if any(one[seed].share is None for one in found))
    at_zero = sorted(seed for seed in everywhere if any(one[seed].is_zero for one in found))
    remarks = [f"censored: {len(censored)} of {len(everywhere)} seeds"]
    if at_zero:
        seeds = ", ".join(map(str, at_zero))
        remarks.append(f"the mask alone succeeds in seed {seeds}, which contradicts B there")
    evidence = Evidence(
        values=values, on_objective={}, records=[], missing=missing, remarks=remarks
    )
    result = judge_mean(claim, evidence)
    if len(censored) <= _MOST_CENSORED * len(everywhere):
        return result
    note = BETWEEN_REMARKS.join([result.note, f"alone it would be {result.verdict}"])
    return dataclasses.replace(result, verdict="undecided", qualifier=SEARCH_TOO_WEAK, note=note)


COUNTED_BY = "laboratory.num_seeds_of_shares"

QUESTIONS = (
    Question(
        claim=F1,
        needs=(),
        judge=judge_few,
        in_short="few random coordinates suffice, share over 50 %",
        speaks={"subspace": True},
        counted_by=COUNTED_BY,
    ),
    Question(
        claim=F2,
        needs=(),
        judge=judge_choice,
        in_short="fewer if chosen, ratio of shares",
        speaks={"subspace": True},
        counted_by=COUNTED_BY,
    ),
)
