"""What the laboratory asks: subspace, start or time, whichever holds the scratch solution back.

PROTOCOL.md, section 11. Questions of rules 2, asked of an experiment's runs beside its claims.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from lightning_sparse.analysis import second_rules
from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.claims import (
    b_stronger_search,
    e_escape,
    f_critical_share,
    g_descent,
    i_signs,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rays import BESIDE
from lightning_sparse.analysis.rule_set import RuleSet

ENDS, ESCAPES, SIGNS = i_signs.ENDS, e_escape.ARMS, i_signs.ARMS
"""Arms: those the gap lies between, from the scratch solution on, and from other starts."""

Explanation = Literal["subspace", "start", "time"]

EXPLANATIONS: Mapping[Explanation, str] = {
    "subspace": "The subspace: more coordinates are needed.",
    "start": "The start: the scratch start has the wrong signs.",
    "time": "The time: training inside the mask stopped too early.",
}

SPEAKS: Mapping[str, Mapping[Explanation, bool]] = {
    "B+": {"subspace": True},
    "E1": {"subspace": True, "time": False},
    "E2": {"subspace": True},
    "F1": {"subspace": True},
    "F2": {"subspace": True},
    "G": {"subspace": True},
    "I1": {"start": True},
    "I2": {"start": True},
}
"""For which explanation a claim speaks if it is supported, and (False) against which; the other way
round if it is contradicted."""


def laboratory(*, control: str, detour: str) -> RuleSet:
    """Return the questions of the laboratory.

    Args:
        control: As in `e_escape.questions`.
        detour: As there.
    """
    questions = (
        *e_escape.questions(control=control, detour=detour),
        *f_critical_share.QUESTIONS,
        *i_signs.QUESTIONS,
        g_descent.QUESTION,
        b_stronger_search.QUESTION,
    )
    points = tuple(f"{arm}:end" for arm in (*e_escape.ARMS, *i_signs.ARMS))
    return RuleSet(
        number=2,
        questions=questions,
        beside=(
            Needed(points=points, decides=False),
            Needed(routes=BESIDE, decides=False),
        ),
        judge_all=_judge,
        group_size=10,
    )


def _judge(
    questions: Sequence[Question], experiment: ExperimentRecords, headline_sparsity: float
) -> list[ClaimResult]:
    """Judge by rules 2; more seeds are added by the laboratory's own command."""
    results = second_rules.judge(questions, experiment, headline_sparsity)
    return [
        dataclasses.replace(
            result, outlook=result.outlook.replace("make reproduce", "make laboratory")
        )
        for result in results
    ]


def speaking(
    results: Sequence[ClaimResult], explanation: Explanation
) -> tuple[list[ClaimResult], list[ClaimResult], list[ClaimResult]]:
    """Return the claims that speak for an explanation, those against it, and those still open."""
    about = [result for result in results if explanation in SPEAKS.get(result.claim, {})]
    open_ = [result for result in about if result.verdict == "undecided"]
    decided = [result for result in about if result.verdict != "undecided"]
    speaks_for = [
        (result.verdict == "supported") == SPEAKS[result.claim][explanation] for result in decided
    ]
    pairs = list(zip(decided, speaks_for, strict=True))
    return [one for one, yes in pairs if yes], [one for one, yes in pairs if not yes], open_
