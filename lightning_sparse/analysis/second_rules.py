"""Rules 2: one yardstick and one margin for all paths, and exact shares of seeds."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, ClaimResult
from lightning_sparse.analysis.claims import (
    a_descents_from_starts,
    b_no_way_inside_mask,
    c1_descents_compared,
    c_way_in_dense_space,
    d_end_points,
    search_controls,
)
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.power import MOST_SEEDS, seeds_for_mean, seeds_for_share
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.analysis.statistics import holm

_MOST_LISTED = 10  # seeds, one by one
SEARCH_TOO_WEAK = ": search too weak"

Outlook = Callable[[ClaimResult, ExperimentRecords], str]
"""Says of an undecided claim what would decide it."""


def judge(
    questions: Sequence[Question],
    experiment: ExperimentRecords,
    headline_sparsity: float,
    outlook: Outlook | None = None,
) -> list[ClaimResult]:
    """Judge all claims by the loss, and say beside each what the objective says.

    Args:
        questions: Claims and controls.
        experiment: The records.
        headline_sparsity: Of the claims.
        outlook: Says what would decide an undecided one; None for more seeds of ``reproduce``.
    """
    on_paths = [question for question in questions if question.is_about_paths]
    by_loss = _paths(on_paths, experiment, headline_sparsity, "loss")
    by_objective = _paths(on_paths, experiment, headline_sparsity, "objective")
    others = {
        question.name: question.judge(experiment, headline_sparsity=headline_sparsity)
        for question in questions
        if not question.is_about_paths
    }
    results = [
        _beside(by_loss[question.name], by_objective[question.name])
        if question.is_about_paths
        else _gated(question, {**by_loss, **others})
        for question in questions
    ]
    return [
        dataclasses.replace(result, outlook=(outlook or _outlook)(result, experiment))
        if _is_open(result)
        else result
        for result in _adjusted(results)
    ]


def _paths(
    questions: Sequence[Question],
    experiment: ExperimentRecords,
    sparsity: float,
    quantity: Quantity,
) -> dict[str, ClaimResult]:
    judged = {
        question.name: question.judge(experiment, headline_sparsity=sparsity, quantity=quantity)
        for question in questions
    }
    return {question.name: _gated(question, judged) for question in questions}


def _gated(question: Question, judged: Mapping[str, ClaimResult]) -> ClaimResult:
    """Leave open what rests on a search whose control did not pass; what has no seeds is open."""
    result = judged[question.name]
    if result.estimate is None:
        return result
    failed = [name for name in question.controls if judged[name].verdict != "supported"]
    if not failed:
        return result
    reasons = [f"{name} is {judged[name].verdict_words}" for name in failed]
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


def _is_open(result: ClaimResult) -> bool:
    """Whether more seeds would decide it."""
    is_undecided = result.verdict == "undecided" and not result.qualifier
    return is_undecided and result.estimate is not None


def _outlook(result: ClaimResult, experiment: ExperimentRecords) -> str:
    number = seeds_to_decide(result, len(experiment.seeds))
    if number is None:
        return UNLIKELY
    return decided_by(number, f"make reproduce {seeds_words(experiment, number)}")


UNLIKELY = f"at the effect seen, not even {MOST_SEEDS} seeds would be likely to decide it"


def seeds_to_decide(result: ClaimResult, number: int) -> int | None:
    """Return how many seeds would decide a claim at the effect seen; None where none would.

    Args:
        result: A claim with an estimate.
        number: How many seeds it has: at least one more is asked for.
    """
    if result.unit.startswith("share"):
        return seeds_for_share(result.estimate or 0.0, number + 1)
    return seeds_for_mean(list(result.by_seed.values()), number + 1)


def decided_by(number: int, command: str) -> str:
    """Say in words that a command with so many seeds would decide a claim."""
    return f"at the effect seen, {number} seeds would decide it with a chance of 80 %: {command}"


def seeds_words(experiment: ExperimentRecords, number: int) -> str:
    """Write which experiment, and so many of its seeds, as make has them."""
    seeds = list(experiment.seeds)
    seeds += range(seeds[-1] + 1, seeds[-1] + 1 + number - len(seeds))
    return f"EXPERIMENT={experiment.name} SEEDS={_listed_for_a_shell(seeds)}"


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


RULES_2 = RuleSet(
    number=2,
    questions=(
        a_descents_from_starts.QUESTION,
        b_no_way_inside_mask.QUESTION,
        c_way_in_dense_space.QUESTION,
        c1_descents_compared.QUESTION,
        *search_controls.QUESTIONS,
        *d_end_points.OF_RULES_2,
    ),
    beside=(Needed(routes=(Route("lottery:end", "prune:end"),), decides=False),),
    judge_all=judge,
    group_size=6,
)
