"""Records as the report looks at them, with the arms that come with the program."""

from collections.abc import Sequence

from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.records import Record
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import Looks
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import compose_settings

ARMS = arms(compose_settings([]))
LOOKS = Looks(ARMS)


def found(records: Sequence[Record], sparsity: float, rules: int | RuleSet = 1) -> Findings:
    return Findings(records, sparsity, rules, ARMS)
