"""The last session against the one before it on the same machine: what became slower?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.records import FindingRecord, TrialRecord
from lightning_sparse.errors import UserError

_FEWEST_SESSIONS = 2
# What two sessions must have in common for their times to be comparable.
_MACHINE = ("processor", "num_cores", "accelerator")

Key = tuple[str, str, str]
"""Row, trial and statement: what names a claim in every session."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One claim in two sessions."""

    key: Key
    before: FindingRecord
    after: FindingRecord

    @property
    def is_slower(self) -> bool:
        """Whether the two intervals lie apart, the later one above: chance does not explain it."""
        return self.after.low > self.before.high


def changes(sessions: Mapping[str, Sequence[TrialRecord]]) -> list[Change]:
    """Pair every claim of the last session with the latest earlier one of the same machine.

    Args:
        sessions: Oldest first, as `benchmarks.records.by_session` gives them.

    Raises:
        UserError: If there is nothing to compare with.
    """
    names = list(sessions)
    if len(names) < _FEWEST_SESSIONS:
        raise UserError(
            f"{len(names)} sessions recorded, two are needed to compare; run `make bench` again"
        )
    last = sessions[names[-1]]
    before: dict[Key, FindingRecord] = {}
    for name in names[:-1]:
        before |= _findings([r for r in sessions[name] if _machine(r) == _machine(last[0])])
    if not before:
        raise UserError(
            f"no session before {names[-1]} comes from the same machine; run `make bench` again"
        )
    return [
        Change(key=key, before=before[key], after=finding)
        for key, finding in _findings(last).items()
        if key in before
    ]


def _findings(records: Sequence[TrialRecord]) -> dict[Key, FindingRecord]:
    return {
        (record.row, record.trial, finding.statement): finding
        for record in records
        for finding in record.findings
    }


def _machine(record: TrialRecord) -> list[object]:
    return [record.provenance.get(name) for name in _MACHINE]
