"""What the laboratory asks: subspace, start or time, whichever holds the scratch solution back.

PROTOCOL.md, section 11. Questions of rules 2, asked of an experiment's runs beside its claims.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

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
from lightning_sparse.analysis.explanations import Explanation
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.power import seeds_for_share
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


def laboratory(*, control: str | None, detour: str | None, claims: Sequence[str] = ()) -> RuleSet:
    """Return the questions of the laboratory, or some of them with what stands beside these.

    Args:
        control: As in `e_escape.questions`; None if none was chosen, so that E cannot be asked.
        detour: As there.
        claims: Names of those that are asked; none for all. The controls go with B+.

    Raises:
        UserError: If there is no such claim, or E is asked and nothing was chosen.
    """
    known = all_questions(control=control, detour=detour)
    names = [question.name for question in known]
    if unknown := [claim for claim in claims if claim not in names]:
        raise UserError(
            f"laboratory.claims={[*claims]}: there is no claim {unknown[0]!r}; choose of "
            f"{', '.join(names)}"
        )
    asked = [question for question in known if not claims or question.name in claims]
    letters = {question.name[0] for question in asked}
    if "E" in letters and not (control and detour):
        others = [name for name in names if not name.startswith("E")]
        raise UserError(
            f"laboratory.control={control or 'null'}, laboratory.detour={detour or 'null'}: E "
            "compares arms that are chosen, and tuned, on the pilot seeds: run make pilot "
            f'EXPERIMENT=NAME ARGS="pilot.arms=[{",".join(e_escape.TUNED)}]" and adopt what it '
            f"prints, or leave E out with laboratory.claims=[{','.join(others)}]"
        )
    return RuleSet(
        number=2,
        questions=(*asked, *(search_controls.OF_SEARCHED if "B" in letters else ())),
        beside=tuple(needed for letter, needed in _BESIDE.items() if letter in letters),
        judge_all=_judge,
        group_size=10,
    )


def all_questions(*, control: str | None = None, detour: str | None = None) -> tuple[Question, ...]:
    """Return every claim that can be asked.

    Args:
        control: As in `e_escape.questions`; None for any, where only names and words matter.
        detour: As there.
    """
    return (
        *e_escape.questions(
            control=control or e_escape.CONTROLS[0], detour=detour or e_escape.DETOURS[0]
        ),
        *f_critical_share.QUESTIONS,
        *i_signs.QUESTIONS,
        g_descent.QUESTION,
        b_stronger_search.QUESTION,
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
    counted = {question.name: question.counted_by for question in questions}
    outlook = partial(_outlook, counted)
    results = second_rules.judge(questions, experiment, headline_sparsity, outlook)
    return [_if_unasked(counted.get(result.claim), result, experiment) for result in results]


def _if_unasked(
    setting: str | None, result: ClaimResult, experiment: ExperimentRecords
) -> ClaimResult:
    """Say of a share that was asked of no seed, since it costs much, what asks it."""
    if not setting or result.num_seeds or not result.unit.startswith("share"):
        return result
    fewest = seeds_for_share(1.0, 1)
    words = second_rules.seeds_words(experiment, max(fewest or 0, len(experiment.seeds)))
    outlook = (
        f"asked of no seed so far; {fewest} seeds that all agree are the fewest that decide: "
        f"make laboratory {words} ARGS={setting}={fewest}"
    )
    return dataclasses.replace(result, outlook=outlook)


def _outlook(
    counted: Mapping[str, str | None], result: ClaimResult, experiment: ExperimentRecords
) -> str:
    """Say which command adds the seeds that would decide a claim, or asks it of more of them."""
    setting, known = counted.get(result.claim), len(experiment.seeds)
    number = second_rules.seeds_to_decide(result, result.num_seeds if setting else known)
    if number is None:
        return second_rules.UNLIKELY
    words = second_rules.seeds_words(experiment, max(number, known))
    if setting:
        words += f" ARGS={setting}={number}"
    return second_rules.decided_by(number, f"make laboratory {words}")


def speaking(
    asked: Sequence[Question], results: Sequence[ClaimResult], explanation: Explanation
) -> tuple[list[ClaimResult], list[ClaimResult], list[ClaimResult]]:
    """Return the claims that speak for an explanation, those against it, and those still open."""
    about = {question.name: question.speaks.get(explanation) for question in asked}

    def having(*cases: tuple[str, bool]) -> list[ClaimResult]:
        return [result for result in results if (result.verdict, about.get(result.claim)) in cases]

    return (
        having(("supported", True)),
        having(("supported", False), ("contradicted", True)),
        having(("undecided", True), ("undecided", False)),
    )
