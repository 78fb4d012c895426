"""What a benchmark leaves behind: one line of JSON per trial, with hardware and versions."""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pairing import Outcome, Side, Verdict
from lightning_sparse.errors import UserError

RECORD_VERSION = 1
RESULTS_DIR = Path("results/benchmarks")
CPU_FILE, ACCELERATOR_FILE = "cpu.jsonl", "accelerator.jsonl"


@dataclass(frozen=True, kw_only=True)
class SideRecord:
    """One side: what it is, the median cost of a round, its quartiles, the rounds, and the peak.

    The peak is that of `benchmarks.pairing.Side`; older records have none.
    """

    name: str
    what: str
    median: float
    lower_quartile: float
    upper_quartile: float
    num_rounds: int
    peak_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class FindingRecord:
    """One claim; attributes are those of `benchmarks.pairing.Claim` and `Finding`."""

    statement: str
    bar: float | None
    estimate: float
    low: float
    high: float
    num_rounds: int
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial of one session.

    Attributes:
        session: Date and time at which the command began; the same for all its trials.
        row: File under ``benchmarks/rows`` that the trial comes from.
        trial: Its name there.
        unit: Of the sides' costs.
        sides: Every side.
        findings: Every claim.
        provenance: Commit, versions and hardware.
    """

    session: str
    row: str
    trial: str
    unit: str
    sides: Sequence[SideRecord]
    findings: Sequence[FindingRecord]
    provenance: Mapping[str, Any]


def to_record(
    outcome: Outcome, *, session: str, row: str, provenance: Mapping[str, Any]
) -> TrialRecord:
    """Sum up an outcome."""
    return TrialRecord(
        session=session,
        row=row,
        trial=outcome.trial.name,
        unit=outcome.trial.unit,
        sides=[
            _side_record(name, side, outcome.measured[name])
            for name, side in outcome.trial.sides.items()
        ],
        findings=[
            FindingRecord(
                statement=finding.claim.statement,
                bar=finding.claim.bar,
                estimate=finding.estimate,
                low=finding.low,
                high=finding.high,
                num_rounds=finding.num_rounds,
                verdict=finding.verdict,
            )
            for finding in outcome.findings
        ],
        provenance=provenance,
    )


def append_record(record: TrialRecord, file: Path) -> None:
    """Add one line; earlier sessions stay, so that a later one can be compared with them.

    Raises:
        UserError: If the file cannot be written.
    """
    line = json.dumps({"version": RECORD_VERSION, **dataclasses.asdict(record)})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {file}: {error.strerror or error}; choose another folder with --results"
        ) from error


def read_records(file: Path) -> list[TrialRecord]:
    """Read what `append_record` wrote, oldest first.

    Raises:
        UserError: If there is no such file, or a line is not such a record.
    """
    if not file.is_file():
        raise UserError(f"no benchmark records at {file}; run `make bench` first")
    lines = file.read_text(encoding="utf-8").splitlines()
    return [_from_line(line, f"{file}, line {i}") for i, line in enumerate(lines, start=1)]


def by_session(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Group records by session, oldest first."""
    sessions: dict[str, list[TrialRecord]] = {}
    for record in records:
        sessions.setdefault(record.session, []).append(record)
    return dict(sorted(sessions.items()))


def _side_record(name: str, side: Side, costs: Sequence[float]) -> SideRecord:
    # One measurement is its own quartiles.
    several = costs if len(costs) > 1 else [*costs, *costs]
    lower, median, upper = statistics.quantiles(several, n=4, method="inclusive")
    return SideRecord(
        name=name,
        what=side.what,
        median=median,
        lower_quartile=lower,
        upper_quartile=upper,
        num_rounds=len(costs),
        peak_mb=side.peak_mb,
    )


def _from_line(line: str, place: str) -> TrialRecord:
    try:
        fields = json.loads(line)
        if fields.pop("version") != RECORD_VERSION:
            raise UserError(
                f"{place}: written by another version of this program; move the file away"
            )
        sides = [SideRecord(**side) for side in fields.pop("sides")]
        findings = [FindingRecord(**finding) for finding in fields.pop("findings")]
        return TrialRecord(sides=sides, findings=findings, **fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{place}: not a benchmark record ({error}); remove the line, or restore the file"
        ) from error
