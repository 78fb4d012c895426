"""Judges every claim on the records of one experiment, by the rules that they were made under."""

from collections.abc import Iterable, Mapping, Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.first_rules import RULES_1
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.analysis.second_rules import RULES_2
from lightning_sparse.records import NEWEST_RULES, PathRecord, Record

RULE_SETS: Mapping[int, RuleSet] = {rules.number: rules for rules in (RULES_1, RULES_2)}
"""The sets of rules of PROTOCOL.md; whoever adds one adds it here."""


def judge_all(
    records: Iterable[Record],
    *,
    headline_sparsity: float,
    rules: int | RuleSet | None = None,
) -> list[ClaimResult]:
    """Judge all claims.

    Args:
        records: Of one experiment, all report seeds.
        headline_sparsity: Nominal sparsity at which the claims are judged, in [0, 1).
        rules: By which set of rules, itself or its number; None for that of the records.

    Raises:
        UserError: If the records are not of one experiment or contradict each other, or cannot be
            judged by these rules.
    """
    records = list(records)
    experiment = ExperimentRecords.from_records(records)
    return rule_set(rules, records).judge(experiment, headline_sparsity)


def rule_set(
    rules: int | RuleSet | None, records: Sequence[Record] = (), further: Sequence[Question] = ()
) -> RuleSet:
    """Return a set of rules: as it is, by its number, or that which records were measured by.

    Args:
        rules: The set, its number, or None.
        records: What is asked where it is None; the newest if there are none.
        further: Questions of yours, which are asked after its own.

    Raises:
        UserError: If a question of yours does not fit the others.
    """
    found = rules if isinstance(rules, RuleSet) else RULE_SETS[rules or rules_of(records)]
    return found.with_questions(further)


def rules_of(records: Sequence[Record]) -> int:
    """Return the set of rules that paths were measured by; the newest where there is no path."""
    paths = [record for record in records if isinstance(record, PathRecord)]
    return min((path.rules or 1 for path in paths), default=NEWEST_RULES)
