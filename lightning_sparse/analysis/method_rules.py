"""What is asked of methods beside each other: PROTOCOL.md, section 10."""

import dataclasses
from collections.abc import Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.claims import methods_compared
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.analysis.statistics import holm


def judge(
    questions: Sequence[Question], experiment: ExperimentRecords, headline_sparsity: float
) -> list[ClaimResult]:
    """Judge all claims; p-values are adjusted over all tests, of which a part is one."""
    results = [
        question.judge(experiment, headline_sparsity=headline_sparsity) for question in questions
    ]
    tests = [test for result in results for test in (result.parts or (result,))]
    ps = {test.claim: test.p for test in tests if test.p is not None}
    adjusted = dict(zip(ps, holm(list(ps.values())), strict=True))

    def beside(result: ClaimResult) -> ClaimResult:
        parts = tuple(map(beside, result.parts))
        return dataclasses.replace(
            result, parts=parts, adjusted_p=adjusted.get(result.claim) if not parts else None
        )

    return [beside(result) for result in results]


METHOD_RULES = RuleSet(
    number=2, questions=methods_compared.QUESTIONS, judge_all=judge, group_size=3
)
