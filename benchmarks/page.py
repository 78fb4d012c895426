"""Records of benchmarks as tables: in the terminal, and as the page of results."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table as TerminalTable
from rich.text import Text

from benchmarks.comparison import Change
from benchmarks.pairing import Verdict
from benchmarks.records import (
    ACCELERATOR_FILE,
    CPU_FILE,
    FindingRecord,
    SideRecord,
    TrialRecord,
    by_session,
    read_records,
)
from benchmarks.spent import time_spent
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.records import read_records as read_experiment
from lightning_sparse.report.blocks import Block, Document, Paragraph, Row, Section, Table
from lightning_sparse.report.markdown import render_markdown

_STYLES: Mapping[Verdict, str] = {
    "holds": "bold green",
    "falls short": "bold red",
    "not resolved": "bold yellow",
    "measured": "",
}
_FINDING_COLUMNS = ("claim", "must stay below", "estimate", "95 % interval", "rounds", "verdict")
_SIDE_COLUMNS = ("side", "what", "median", "quartiles", "peak memory")
_SPENT_COLUMNS = ("kind of job", "jobs", "core-seconds", "each", "share")
_NUMERIC = frozenset({*_FINDING_COLUMNS[1:5], *_SIDE_COLUMNS[2:], *_SPENT_COLUMNS[1:]})

_INTRODUCTION = (
    "Made by make bench-page from the records under results/benchmarks: what was measured last "
    "of each row, on CPUs and on each kind of GPU. make bench and make bench-gpu append a session, "
    "make bench-compare sets the last two against each other. "
    "All sides of a table were measured in turns within one run, in rotated order; a claim is the "
    "median over the rounds of one number per round, with its 95 % interval (Hodges-Lehmann). It "
    "holds when the whole interval lies below the bar plus half a per cent (below the bar itself "
    "where a peer is to be beaten), falls short when the whole interval lies above, and is not "
    "resolved otherwise. Rows without a bar are measured, and nothing is promised. Bars are those "
    "of the commit that measured."
)


def count_verdicts(records: Iterable[TrialRecord]) -> dict[Verdict, int]:
    """Count claims by verdict, in the order of the last line; what never occurred is left out.

    The first two are always there.
    """
    counts = Counter(finding.verdict for record in records for finding in record.findings)
    return {
        verdict: counts[verdict]
        for verdict in _STYLES
        if counts[verdict] or verdict in {"holds", "falls short"}
    }


def terminal_table(record: TrialRecord) -> Group:
    """Show a trial: its sides, and below them its claims."""
    columns = _side_columns(record)
    sides = _terminal(columns)
    for side in record.sides:
        sides.add_row(*map(Text, _side_cells(side, record.unit)[: len(columns)]))
    findings = _terminal(_FINDING_COLUMNS)
    for finding in record.findings:
        *cells, verdict = _finding_cells(finding)
        findings.add_row(*map(Text, cells), Text(verdict, style=_STYLES[finding.verdict]))
    title = Text(f"\n{record.row}: {record.trial}", style="bold")
    return Group(title, sides, Text(), findings)


def comparison_table(compared: Sequence[Change]) -> TerminalTable:
    """Show every claim before and after."""
    table = _terminal(("claim", "before", "after", "verdict"))
    for change in compared:
        verdict = Text("slower", style="bold red") if change.is_slower else Text("as before")
        table.add_row(
            Text(": ".join(change.key)),
            *(Text(_with_interval(finding)) for finding in (change.before, change.after)),
            verdict,
        )
    return table


def write_page(results: Path, page: Path) -> None:
    """Write the page from what was measured last on CPUs and on each kind of GPU, if anything was.

    Args:
        results: Folder of the sessions; those of published experiments stand beside it.
        page: The file to write.
    """
    sessions = [
        *_last_sessions(results / CPU_FILE, gpu_of=lambda _: ""),
        *_last_sessions(results / ACCELERATOR_FILE, gpu_of=lambda of: str(of["accelerator"])),
    ]
    nothing = [Paragraph("No session has been published yet.", tone="note")]
    document = Document(
        title="Speed, measured side by side",
        opening=[Paragraph(_INTRODUCTION), *([] if sessions else nothing)],
        sections=[
            *(section for session in sessions for section in _sections(session)),
            *(_spent(file) for file in sorted(results.parent.glob("*/records.jsonl"))),
        ],
    )
    write_text_atomic(page, render_markdown(document))


@dataclass(frozen=True, kw_only=True)
class _Session:
    """What holds of a session on one kind of GPU, or on CPUs, whose ``gpu`` has no name."""

    gpu: str
    records: Sequence[TrialRecord]


def _last_sessions(file: Path, *, gpu_of: Callable[[Mapping[str, Any]], str]) -> list[_Session]:
    """Read the sessions on each kind of GPU, each without what a later one measured again.

    On a machine that is lent for minutes a session measures a few rows.
    """
    sessions = by_session(read_records(file)) if file.is_file() else {}
    of_gpu = [(gpu_of(records[0].provenance), records) for records in sessions.values()]
    last = {
        (gpu, record.row, record.trial): record.session
        for gpu, records in of_gpu
        for record in records
    }
    kept = [
        (
            gpu,
            [record for record in records if last[gpu, record.row, record.trial] == record.session],
        )
        for gpu, records in of_gpu
    ]
    in_order = sorted(kept, key=lambda pair: pair[0])
    return [_Session(gpu=gpu, records=records) for gpu, records in in_order if records]


def _sections(session: _Session) -> list[Section]:
    records, origin = session.records, session.records[0].provenance
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    used, there = max(record.provenance["num_threads"] for record in records), origin["num_cores"]
    cores = f"{there if used >= there else f'{used} of {there}'} cores of {origin['processor']}"
    counts = ", ".join(f"{count} {name}" for name, count in count_verdicts(records).items())
    head: list[Block] = [
        Paragraph(f"{counts}. Session {records[0].session}, commit {origin['commit']}; {versions}.")
    ]
    return [
        Section(f"On {session.gpu} beside {cores}" if session.gpu else f"On {cores}", head),
        *(Section(_heading(session.gpu, record.trial), _blocks(record)) for record in records),
    ]


def _heading(gpu: str, trial: str) -> str:
    # Headings of one page must tell the same trial on two devices apart.
    return f"{gpu}: {trial}" if gpu else f"{trial[:1].upper()}{trial[1:]}"


def _spent(file: Path) -> Section:
    """Say where the time of one published experiment went."""
    records = read_experiment(file)
    spent = time_spent(records)
    total = sum(kind.core_seconds for kind in spent.values())
    rows = [
        Row(
            [
                name,
                str(kind.num_jobs),
                f"{kind.core_seconds:,.0f} s",
                _quantity(kind.core_seconds / kind.num_jobs, "s"),
                f"{kind.core_seconds / total:.1%}",
            ]
        )
        for name, kind in spent.items()
    ]
    processors = sorted({str(record.provenance.get("processor")) for record in records})
    origin = (
        f"{total:,.0f} core-seconds on {' and '.join(processors)}, as the jobs measured themselves "
        "while others ran beside them: trainings, fits and the evaluation of paths, without the "
        "start of processes and the evaluation of end points. These are the times of one run, "
        "whatever else the machine did then; only times of the same machine can be compared."
    )
    title = f"Where the time of make reproduce went: {file.parent.name}"
    return Section(title, [Paragraph(origin), Table(_SPENT_COLUMNS, rows, numeric=_NUMERIC)])


def _blocks(record: TrialRecord) -> list[Block]:
    columns = _side_columns(record)
    sides = [Row(_side_cells(side, record.unit)[: len(columns)]) for side in record.sides]
    findings = [Row(_finding_cells(finding)) for finding in record.findings]
    return [
        Table(_FINDING_COLUMNS, findings, numeric=_NUMERIC),
        Table(columns, sides, numeric=_NUMERIC),
    ]


def _side_columns(record: TrialRecord) -> Sequence[str]:
    """Leave out the last column where no peak was measured."""
    has_peaks = any(side.peak_mb is not None for side in record.sides)
    return _SIDE_COLUMNS if has_peaks else _SIDE_COLUMNS[:-1]


def _side_cells(side: SideRecord, unit: str) -> list[str]:
    lower, upper = (_quantity(value, unit) for value in (side.lower_quartile, side.upper_quartile))
    peak = "" if side.peak_mb is None else f"{side.peak_mb:,.0f} MB"
    return [side.name, side.what, _quantity(side.median, unit), f"{lower} to {upper}", peak]


def _finding_cells(finding: FindingRecord) -> list[str]:
    return [
        finding.statement,
        "" if finding.bar is None else f"{finding.bar:.4g}",
        f"{finding.estimate:.4g}",
        f"{finding.low:.4g} to {finding.high:.4g}",
        str(finding.num_rounds),
        finding.verdict,
    ]


def _with_interval(finding: FindingRecord) -> str:
    return f"{finding.estimate:.4g} [{finding.low:.4g}, {finding.high:.4g}]"


def _quantity(value: float, unit: str) -> str:
    """Write a cost for a reader.

    Example:
        >>> _quantity(0.00153, "s"), _quantity(2.5, "s"), _quantity(1024.2, "MB")
        ('1.53 ms', '2.5 s', '1024 MB')
    """
    if unit != "s":
        return f"{value:.4g} {unit}"
    for factor, name in ((1.0, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e6:.3g} us"


def _terminal(columns: Sequence[str]) -> TerminalTable:
    table = TerminalTable(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        is_number = column in _NUMERIC
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number)
    return table
