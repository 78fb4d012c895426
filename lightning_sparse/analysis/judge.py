"""Judges every claim on the records of one experiment, by the rules that they were made under."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from lightning_sparse.analysis import first_rules, second_rules
from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.records import NEWEST_RULES, PathRecord, Record

Judge = Callable[[ExperimentRecords, float], list[ClaimResult]]

RULE_SETS: Mapping[int, Judge] = {1: first_rules.judge, 2: second_rules.judge}
"""The sets of rules of PROTOCOL.md; whoever adds one adds it here."""


def judge_all(
    records: Iterable[Record], *, headline_sparsity: float, rules: int | None = None
) -> list[ClaimResult]:
    """Judge all claims.

    Args:
        records: Of one experiment, all report seeds.
        headline_sparsity: Nominal sparsity at which the claims are judged, in [0, 1).
        rules: By which set of rules; None for that of the records.

    Raises:
        UserError: If the records are not of one experiment or contradict each other, or cannot be
            judged by these rules.
    """
    records = list(records)
    experiment = ExperimentRecords.from_records(records)
    return RULE_SETS[rules or rules_of(records)](experiment, headline_sparsity)


def rules_of(records: Sequence[Record]) -> int:
    """Return the set of rules that paths were measured by; the newest where there is no path."""
    paths = [record for record in records if isinstance(record, PathRecord)]
    return min((path.rules or 1 for path in paths), default=NEWEST_RULES)
