"""Settings of reports."""

from dataclasses import dataclass

from lightning_sparse.fields import setting


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """What is reported on, and by which rules.

    Attributes:
        runs: A folder of runs, or W&B's export of a project; None for one experiment.
        rules: Set of rules of PROTOCOL.md; None for that of the records.
    """

    runs: str | None = setting(example="runs", is_place=True)
    rules: int | None = setting(example=2, choices=(1, 2))
