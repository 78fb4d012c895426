"""What the laboratory asks: subspace, start or time, whichever holds the scratch solution back.

PROTOCOL.md, section 11. Questions of rules 2, asked of an experiment's runs beside its claims.
"""

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
    search_controls,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rays import BESIDE
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.analysis.stronger_search import seeds_searched
from lightning_sparse.errors import UserError

ENDS, ESCAPES, SIGNS = i_signs.ENDS, e_escape.ARMS, i_signs.ARMS
"""Arms: those the gap lies between, from the scratch solution on, and from other starts."""

CHOSEN_ON_PILOT: Mapping[str, Sequence[str]] = {
    "control": e_escape.CONTROLS,
    "detour": e_escape.DETOURS,
}
"""Arms of which one is compared by E1, by the setting under ``laboratory`` that says which."""

Explanation = Literal["subspace", "start", "time"]

EXPLANATIONS: Mapping[Explanation, str] = {
    "subspace": "The subspace: more coordinates are needed.",
    "start": "The start: the scratch start has the wrong signs.",
    "time": "The time: training inside the mask stopped too early.",
}

IN_SHORT: Mapping[str, str] = {
    "B+": "no way inside the mask, share of seeds",
    "E1": "detour beats staying inside, ratio of losses",
    "E2": "no barrier from the burst to P, share of seeds",
    "F1": "few random coordinates suffice, share over 50 %",
    "F2": "fewer if chosen, ratio of shares",
    "G": "the way down lies outside at S more than at P, ratio",
    "I1": "P's signs close half of the gap, ratio of losses",
    "I2": "no barrier from P's signs to P, share of seeds",
}
"""What a claim says, and what its estimate is of, for a reader who sees its letter first."""

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


def laboratory(*, control: str, detour: str, claims: Sequence[str] = ()) -> RuleSet:
    """Return the questions of the laboratory, or some of them with what stands beside these.

    Args:
        control: As in `e_escape.questions`.
        detour: As there.
        claims: Names of those that are asked; none for all. The controls go with B+.

    Raises:
        UserError: If there is no such claim.
    """
    known = (
        *e_escape.questions(control=control, detour=detour),
        *f_critical_share.QUESTIONS,
        *i_signs.QUESTIONS,
        g_descent.QUESTION,
        b_stronger_search.QUESTION,
    )
    names = [question.name for question in known]
    if unknown := [claim for claim in claims if claim not in names]:
        raise UserError(
            f"laboratory.claims={[*claims]}: there is no claim {unknown[0]!r}; choose of "
            f"{', '.join(names)}"
        )
    asked = [question for question in known if not claims or question.name in claims]
    letters = {question.name[0] for question in asked}
    return RuleSet(
        number=2,
        questions=(*asked, *(search_controls.OF_SEARCHED if "B" in letters else ())),
        beside=tuple(needed for letter, needed in _BESIDE.items() if letter in letters),
        judge_all=_judge,
        group_size=10,
    )


_BESIDE = {
    "E": Needed(points=tuple(f"{arm}:end" for arm in e_escape.ARMS), decides=False),
    "I": Needed(points=tuple(f"{arm}:end" for arm in i_signs.ARMS), decides=False),
    "G": Needed(routes=BESIDE, decides=False),
}
"""What is made and shown beside claims, by their first letter."""


def _judge(
    questions: Sequence[Question], experiment: ExperimentRecords, headline_sparsity: float
) -> list[ClaimResult]:
    """Judge by rules 2; more seeds are added by the laboratory's own command.

    Where nothing was searched as B+ asks, its controls were not asked for either.
    """
    if not seeds_searched(experiment):
        questions = [one for one in questions if one not in search_controls.OF_SEARCHED]
    return second_rules.judge(questions, experiment, headline_sparsity, _outlook)


_NUMBER_OF_SEEDS = {
    "F1": "shares",
    "F2": "shares",
    **dict.fromkeys(
        [b_stronger_search.QUESTION.name, *b_stronger_search.QUESTION.controls], "search"
    ),
}
"""Claims that are asked of the first seeds alone, by the end of the setting that says how many."""


def _outlook(result: ClaimResult, experiment: ExperimentRecords) -> str:
    """Say which command adds the seeds that would decide a claim, or asks it of more of them."""
    counted = _NUMBER_OF_SEEDS.get(result.claim)
    known = len(experiment.seeds)
    number = second_rules.seeds_to_decide(result, result.num_seeds if counted else known)
    if number is None:
        return second_rules.UNLIKELY
    words = second_rules.seeds_words(experiment, max(number, known))
    if counted:
        words += f" ARGS=laboratory.num_seeds_of_{counted}={number}"
    return second_rules.decided_by(number, f"make laboratory {words}")


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
