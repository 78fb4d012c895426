"""What was trained: end points summed up over seeds, and the distances they went."""

from collections.abc import Sequence

from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.records import Record, RunRecord
from lightning_sparse.report.blocks import Block, Paragraph, Row, Table
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import listed, nominal, number, percent


def endpoint_blocks(findings: Findings) -> list[Block]:
    """Return the table of end points, and a note on what is missing."""
    table = Table(
        columns=[
            "sparsity",
            "arm",
            "seeds",
            "test accuracy [%]",
            "training loss [nats]",
            "training objective [nats]",
            "kept / prunable",
            "overall sparsity",
            "distance from start",
            "records",
        ],
        rows=[_row(runs, findings) for runs in _groups(findings)],
        caption=(
            "End points: means over seeds ± half the 95 % interval. Sparsity is the nominal one "
            "that was asked for; kept / prunable and overall sparsity are counted from the masks. "
            "Distance is Euclidean, over all weights."
        ),
        numeric=frozenset(
            {
                "seeds",
                "test accuracy [%]",
                "training loss [nats]",
                "training objective [nats]",
                "kept / prunable",
                "overall sparsity",
                "distance from start",
            }
        ),
    )
    blocks: list[Block] = [table] if table.rows else []
    notes = [missing_runs(findings), *remarks(findings)]
    return [*blocks, *(Paragraph(note, "note") for note in notes if note)]


def remarks(findings: Findings) -> list[str]:
    """Return what was said of network, data and weights in runs and paths, each once."""
    records: list[Record] = [*findings.runs, *findings.paths]
    said = (record.remarks or () for record in records)
    return list(dict.fromkeys(f"Noted of runs: {remark}." for some in said for remark in some))


def missing_runs(findings: Findings) -> str:
    """Say which arms have no run, and which have fewer seeds than the others; empty if none."""
    seeds = {run.seed for run in findings.runs}
    expected = [(arm, 0.0) for arm in findings.unmasked if not findings.repeats(arm)]
    expected += [(arm, sparsity) for sparsity in findings.sparsities for arm in findings.masked]
    gaps = []
    for arm, sparsity in expected:
        absent = sorted(seeds - {run.seed for run in findings.arm(arm, sparsity)})
        if absent or not seeds:
            where = f" at {nominal(sparsity)}" if arm in findings.masked else ""
            which = f" (seeds {listed(map(str, absent))})" if 0 < len(absent) < len(seeds) else ""
            gaps.append(f"{findings.looks.words(arm)}{where}{which}")
    return f"Missing end points: {listed(gaps)}." if gaps else ""


def mean_with_margin(values: Sequence[float], digits: int = 3) -> str:
    """Write a mean and half the width of its 95 % interval.

    Example:
        >>> mean_with_margin([1.0, 2.0, 3.0])
        '2.00 ± 2.5'
        >>> mean_with_margin([0.5])
        '0.500'
    """
    mean, interval = sum(values) / len(values), t_interval(values)
    if interval is None:
        return number(mean, digits)
    margin = (interval[1] - interval[0]) / 2
    return f"{number(mean, digits)} ± {number(margin, max(digits - 1, 2))}"


def _groups(findings: Findings) -> list[list[RunRecord]]:
    groups = [findings.arm(arm) for arm in findings.unmasked]
    groups += [
        findings.arm(arm, sparsity) for sparsity in findings.sparsities for arm in findings.masked
    ]
    return [runs for runs in groups if runs]


def _row(runs: Sequence[RunRecord], findings: Findings) -> Row:
    first = runs[0]
    is_second = first.arm != first.method
    return Row(
        cells=[
            nominal(first.target_sparsity),
            findings.looks.words(first.method) + (", second start" if is_second else ""),
            str(len(runs)),
            _accuracy([run.test.accuracy for run in runs]),
            mean_with_margin([run.train.loss for run in runs]),
            mean_with_margin([run.train.objective for run in runs]),
            counts(runs),
            overall_sparsity(first),
            _distances(runs),
            findings.references(run.run_id for run in runs),
        ]
    )


def _distances(runs: Sequence[RunRecord]) -> str:
    known = [run.distance_from_start for run in runs if run.distance_from_start is not None]
    return mean_with_margin(known) if known else ""


def counts(runs: Sequence[RunRecord]) -> str:
    """Write kept / prunable; one pair for all seeds unless something is wrong."""
    return "; ".join(dict.fromkeys(f"{run.kept:,} / {run.prunable:,}" for run in runs))


def overall_sparsity(run: RunRecord) -> str:
    """Write the sparsity of the prunable weights, and of all parameters where that is another."""
    of_all = run.overall_sparsity
    own = percent(run.measured_sparsity, 2)
    if of_all is None or run.measured_sparsity - of_all < _WORTH_SAYING:
        return own
    return f"{own} ({percent(of_all, 2)} of all parameters)"


_WORTH_SAYING = 0.01


def _accuracy(accuracies: Sequence[float]) -> str:
    points = [100 * accuracy for accuracy in accuracies]
    mean, interval = sum(points) / len(points), t_interval(points)
    return f"{mean:.2f}" + (f" ± {(interval[1] - interval[0]) / 2:.2f}" if interval else "")
