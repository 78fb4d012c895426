"""Settings of reports."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_sparse.fields import setting


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """What is reported on, and by which rules.

    Attributes:
        runs: A folder of runs, or W&B's export of a project; None for one experiment.
        records: Files of records of other machines, or folders that hold one; added to this one's.
        rules: Set of rules of PROTOCOL.md; None for that of the records.
    """

    runs: str | None = setting(example="runs", is_place=True)
    records: Sequence[str] = setting((), example="[a/records.jsonl]")
    rules: int | None = setting(example=2, choices=(1, 2))
