"""Rules 2: one yardstick and one margin for all paths, and exact shares of seeds."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.claims import (
    a_descents_from_starts,
    b_no_way_inside_mask,
    c1_descents_compared,
    c_way_in_dense_space,
    d1_scratch_accuracy,
    d2_scratch_training_loss,
    d3_lottery_accuracy,
    d4_lottery_training_loss,
    search_controls,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.power import MOST_SEEDS, seeds_for_mean, seeds_for_share
from lightning_sparse.analysis.statistics import holm, t_test

_MOST_LISTED = 10  # seeds, one by one
SEARCH_TOO_WEAK = ": search too weak"

# Which controls must pass before anything is said about what a search did not find.
_NEEDS: Mapping[str, Sequence[str]] = {
    "B": (search_controls.DENSE.name, search_controls.IN_MASK.name),
    "C": (search_controls.DENSE.name,),
    "C1": (search_controls.DENSE.name, search_controls.IN_MASK.name),
}

_MEAN_RULE = (
    "Supported if the 95 % Student t interval over seeds lies wholly {side} 0, contradicted if it "
    "lies wholly on the other side, else undecided."
)

_ENDS = (
    d1_scratch_accuracy,
    d2_scratch_training_loss,
    d3_lottery_accuracy,
    d4_lottery_training_loss,
)


def judge(experiment: ExperimentRecords, headline_sparsity: float) -> list[ClaimResult]:
    """Judge all claims by the loss, and say beside each what the objective says."""
    by_loss = _paths(experiment, headline_sparsity, "loss")
    by_objective = _paths(experiment, headline_sparsity, "objective")
    results = [
        *(_beside(result, other) for result, other in zip(by_loss, by_objective, strict=True)),
        *_end_points(experiment, headline_sparsity),
    ]
    return [_with_outlook(result, experiment) for result in _adjusted(results)]


def _paths(experiment: ExperimentRecords, sparsity: float, quantity: Quantity) -> list[ClaimResult]:
    judges: Sequence[Callable[..., ClaimResult]] = (
        a_descents_from_starts.judge,
        b_no_way_inside_mask.judge,
        c_way_in_dense_space.judge,
        _judge_c1,
        search_controls.judge_dense,
        search_controls.judge_in_mask,
    )
    results = [
        judge_one(experiment, headline_sparsity=sparsity, quantity=quantity) for judge_one in judges
    ]
    controls = {result.claim: result for result in results}
    return [_gated(result, controls) for result in results]


def _judge_c1(
    experiment: ExperimentRecords, *, headline_sparsity: float, quantity: Quantity
) -> ClaimResult:
    found = c1_descents_compared.evidence(experiment, headline_sparsity, quantity)
    return _judge_mean(c1_descents_compared.CLAIM, found)


def _end_points(experiment: ExperimentRecords, sparsity: float) -> list[ClaimResult]:
    return [
        _judge_mean(
            dataclasses.replace(claim.CLAIM, rule=claim.CLAIM.rule.partition(" Supported if")[0]),
            claim.evidence(experiment, sparsity),
        )
        for claim in _ENDS
    ]


def _judge_mean(claim: Claim, evidence: Evidence) -> ClaimResult:
    """Decide on the mean over seeds, as rules 1 do, in the words of rules 2."""
    claim = dataclasses.replace(
        claim, rule=f"{claim.rule} {_MEAN_RULE.format(side=claim.side)}", refuted="contradicted"
    )
    return dataclasses.replace(
        claim.judge(evidence),
        rules=2,
        by_seed=dict(sorted(evidence.values.items())),
        p=t_test(list(evidence.values.values())),
    )


def _gated(result: ClaimResult, controls: Mapping[str, ClaimResult]) -> ClaimResult:
    """Leave open what rests on a search whose control did not pass."""
    failed = [
        name for name in _NEEDS.get(result.claim, ()) if controls[name].verdict != "supported"
    ]
    if not failed:
        return result
    reasons = [f"{name} is {controls[name].verdict_words}" for name in failed]
    alone = f"the numbers alone would say {result.verdict_words}"
    return dataclasses.replace(
        result,
        verdict="undecided",
        qualifier=SEARCH_TOO_WEAK,
        note=BETWEEN_REMARKS.join(filter(None, [*reasons, alone, result.note])),
    )


def _beside(result: ClaimResult, by_objective: ClaimResult) -> ClaimResult:
    """Remark what the objective says, whose own controls have been asked."""
    remark = f"by the objective instead of the loss: {by_objective.verdict_words}"
    if by_objective.estimate is not None and by_objective.interval is not None:
        low, high = by_objective.interval
        remark += f", {by_objective.estimate:.3g} [{low:.3g}, {high:.3g}]"
    parts = tuple(map(_beside, result.parts, by_objective.parts))
    note = BETWEEN_REMARKS.join(filter(None, [result.note, remark]))
    return dataclasses.replace(result, note=note, parts=parts)


def _adjusted(results: Sequence[ClaimResult]) -> list[ClaimResult]:
    """Adjust the p-values of the table's claims for each other; parts keep their own."""
    tested = [result for result in results if result.p is not None]
    adjusted = dict(
        zip(
            (result.claim for result in tested),
            holm([result.p for result in tested if result.p is not None]),
            strict=True,
        )
    )
    return [
        dataclasses.replace(result, adjusted_p=adjusted.get(result.claim)) for result in results
    ]


def _with_outlook(result: ClaimResult, experiment: ExperimentRecords) -> ClaimResult:
    if result.verdict != "undecided" or result.qualifier or result.estimate is None:
        return result
    count = len(experiment.seeds)
    if result.unit.startswith("share"):
        needed = seeds_for_share(result.estimate, count + 1)
    else:
        needed = seeds_for_mean(list(result.by_seed.values()), count + 1)
    return dataclasses.replace(result, outlook=_outlook(needed, experiment))


def _outlook(needed: int | None, experiment: ExperimentRecords) -> str:
    if needed is None:
        return f"at the effect seen, not even {MOST_SEEDS} seeds would be likely to decide it"
    seeds = list(experiment.seeds)
    seeds += range(seeds[-1] + 1, seeds[-1] + 1 + needed - len(seeds))
    name = (experiment.runs or experiment.paths)[0].experiment
    return (
        f"at the effect seen, {needed} seeds would decide it with a chance of 80 %: make reproduce "
        f"EXPERIMENT={name} SEEDS={_listed_for_a_shell(seeds)}"
    )


def _listed_for_a_shell(seeds: Sequence[int]) -> str:
    """Write seeds as one word of a command, a long range by the program that counts.

    Example:
        >>> _listed_for_a_shell([31, 32, 35]), _listed_for_a_shell(range(31, 51))
        ('31,32,35', '$(seq -s, 31 50)')
    """
    is_range = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    if is_range and len(seeds) > _MOST_LISTED:
        return f"$(seq -s, {seeds[0]} {seeds[-1]})"
    return ",".join(map(str, seeds))
