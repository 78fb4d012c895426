"""Rules 1: every claim by an interval of its own, as seeds 11 to 30 of digits were published."""

import dataclasses
from collections.abc import Mapping, Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.claims import (
    a_lines_from_starts,
    b_rise_inside_mask,
    c1_dense_space_helps,
    c2_dense_curve_is_flat,
    d_end_points,
    positive_control,
)
from lightning_sparse.analysis.experiment import CUBIC, ExperimentRecords, Route
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rule_set import RuleSet


def judge(
    questions: Sequence[Question], experiment: ExperimentRecords, headline_sparsity: float
) -> list[ClaimResult]:
    """Judge all claims; those about trained curves stay open unless their controls pass."""
    judged = {
        question.name: question.judge(experiment, headline_sparsity=headline_sparsity)
        for question in questions
    }
    return [_gated(question, judged) for question in questions]


def _gated(question: Question, judged: Mapping[str, ClaimResult]) -> ClaimResult:
    result = judged[question.name]
    for control in (judged[name] for name in question.controls):
        if control.verdict != "supported":
            return _without_search(result, control, question.searches_nothing)
    return result


def _without_search(
    result: ClaimResult, control: ClaimResult, searches_nothing: Sequence[str]
) -> ClaimResult:
    if result.claim in searches_nothing:
        return result
    reason = (
        f"search too weak: the positive control is {control.verdict} "
        f"(the numbers alone would say {result.verdict})"
    )
    return dataclasses.replace(
        result,
        verdict="undecided",
        note="; ".join(filter(None, [reason, result.note])),
        parts=tuple(_without_search(part, control, searches_nothing) for part in result.parts),
    )


RULES_1 = RuleSet(
    number=1,
    questions=(
        a_lines_from_starts.QUESTION,
        b_rise_inside_mask.QUESTION,
        c1_dense_space_helps.QUESTION,
        c2_dense_curve_is_flat.QUESTION,
        positive_control.QUESTION,
        *d_end_points.OF_RULES_1,
    ),
    beside=(
        Needed(
            routes=(
                Route("scratch:end", "prune:end", CUBIC, "dense"),
                Route("lottery:end", "prune:end"),
            ),
            decides=False,
        ),
    ),
    judge_all=judge,
    group_size=3,
)
