"""Methods beside each other: one table, one figure, and what was asked of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.costs import Comparison, compared
from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.arms import Arm
from lightning_sparse.records import Record, RunRecord
from lightning_sparse.report.blocks import Block, Document, Paragraph, Picture, Row, Section, Table
from lightning_sparse.report.claims_tables import verdict_sentence, verdict_table
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.endpoint_tables import counts, mean_with_margin
from lightning_sparse.report.markdown import render_blocks
from lightning_sparse.report.pages import write_pages
from lightning_sparse.report.sparsity_figure import accuracy_on_test, training_loss, use_log_scale
from lightning_sparse.report.style import NONE, Looks, nominal, percent

_COLUMNS = (
    "no.",
    "method",
    "seeds",
    "test accuracy [%]",
    "training loss [nats]",
    "training FLOPs",
    "inference FLOPs",
    "kept / prunable",
    "bytes",
)
_CAPTION = (
    "Means over seeds ± half the 95 % interval. Training FLOPs are those of ideal sparse kernels, "
    "and count every run whose weights or masks a method was given, but not its tuning; inference "
    "FLOPs are of one image. Bytes: kept weights and all other parameters in single precision, and "
    "a bit for each weight of a layer that has a mask."
)


def write_methods(
    records: Sequence[Record],
    claims: Sequence[ClaimResult],
    arms: Mapping[str, Arm],
    *,
    title: str,
    folder: Path,
) -> None:
    """Write ``report.html``, ``report.md`` and ``figures/methods``.

    Args:
        records: Of one experiment.
        claims: As judged on them.
        arms: Those that there are.
        title: Heading of the page.
        folder: Where to write; made if absent.
    """
    document = make_document(records, claims, arms, title=title)
    write_pages(document, folder)


def make_document(
    records: Sequence[Record],
    claims: Sequence[ClaimResult],
    arms: Mapping[str, Arm],
    *,
    title: str,
) -> Document:
    """Put the page together."""
    rows, looks = compared(records), Looks(arms)
    asked: list[Block] = [Paragraph(verdict_sentence(claims))]
    if claims:
        asked += [verdict_table(claims, has_rules=False), _rules(claims)]
    return Document(
        title=title,
        opening=[_picture(rows), *_listed(rows, looks)],
        sections=[Section("What was asked of them", asked)],
    )


FIGURE = "figures/methods.png"
WORDS = "What each method reaches, by its number in the table, against the operations of training"


def in_markdown(
    records: Sequence[Record], claims: Sequence[ClaimResult], arms: Mapping[str, Arm]
) -> str:
    """Write table, notes and verdicts for a page beside others, without figure and rules."""
    blocks = _listed(compared(records), Looks(arms))
    asked = [verdict_table(claims, has_rules=False)] if claims else []
    return render_blocks([*blocks, Paragraph(verdict_sentence(claims)), *asked])


def _listed(rows: Sequence[Comparison], looks: Looks) -> list[Block]:
    return [_table(rows, looks), *_notes(rows, looks)]


def _table(rows: Sequence[Comparison], looks: Looks) -> Table:
    columns = [*_COLUMNS[:2], "sparsity", *_COLUMNS[2:]]
    return Table(
        columns=columns,
        rows=[_row(number, row, looks) for number, row in enumerate(rows, start=1)],
        caption=_CAPTION,
        numeric=frozenset(set(columns) - {"method"}),
    )


def _row(number: int, row: Comparison, looks: Looks) -> Row:
    return Row(
        cells=[
            str(number),
            looks.words(row.arm),
            nominal(row.sparsity) if row.sparsity else "dense",
            str(len(row.runs)),
            _points([accuracy_on_test(run) for run in row.runs]),
            mean_with_margin([training_loss(run) for run in row.runs]),
            _large(row.training_flops),
            _large(row.inference_flops),
            counts(row.runs),
            f"{row.num_bytes:,.0f}",
        ]
    )


def _points(values: Sequence[float]) -> str:
    interval = t_interval(values)
    margin = f" ± {(interval[1] - interval[0]) / 2:.2f}" if interval else ""
    return f"{sum(values) / len(values):.2f}{margin}"


def _large(value: float | None) -> str:
    """Write a count of operations with three digits."""
    return NONE if value is None else f"{value:.2e}"


def _notes(rows: Sequence[Comparison], looks: Looks) -> list[Block]:
    """Name what ended at another sparsity than it was asked for."""
    off = [
        f"{looks.words(row.arm)} ({percent(run.measured_sparsity, 2)})"
        for row in rows
        for run in row.runs[:1]
        if any(run.misses_sparsity for run in row.runs)
    ]
    if not off:
        return []
    return [Paragraph(f"Not at the sparsity asked for, and in no claim: {', '.join(off)}.", "note")]


def _rules(claims: Sequence[ClaimResult]) -> Table:
    return Table(
        columns=["claim", "rule", "remarks"],
        rows=[
            Row(cells=[item.claim, item.rule if level == 0 else "", item.note], level=level)
            for claim in claims
            for level, item in ((0, claim), *((1, part) for part in claim.parts))
        ],
    )


def _picture(rows: Sequence[Comparison]) -> Picture:
    """Draw accuracy and training loss against the operations of training, both logarithmic."""
    with drawing(10, 5.2) as figure:
        left, right = figure.subplots(1, 2)
        _draw(left, rows, accuracy_on_test)
        left.set_ylabel("test accuracy [%]")
        left.set_title("Test accuracy (higher is better)")
        _draw(right, rows, training_loss)
        right.set_ylabel("training loss [nats]")
        right.set_title("Training loss (lower is better)")
        use_log_scale(right)
        return picture(
            figure,
            "methods",
            "Every method by its number in the table: what it reaches, against the operations that "
            "training takes. Small points are seeds, bars 95 % intervals of their mean.",
        )


def _draw(axes: Axes, rows: Sequence[Comparison], measure: Callable[[RunRecord], float]) -> None:
    """Draw single seeds and their mean for each row, with its number beside it.

    The axis is as long as the seeds ask for: of three, intervals are several times as long.
    """
    seen: list[float] = []
    for number, row in enumerate(rows, start=1):
        if (flops := row.training_flops) is None:
            continue
        values = [measure(run) for run in row.runs]
        mean, interval = sum(values) / len(values), t_interval(values)
        seen += values
        axes.plot([flops] * len(values), values, ".", color="#b0b0b0", markersize=3, zorder=2)
        if interval is not None:
            axes.vlines(flops, *interval, color="#d8d8d8", linewidth=1, zorder=1)
        axes.plot(flops, mean, "o", color="#0072b2", markersize=4, zorder=3)
        axes.annotate(str(number), (flops, mean), (3, 3), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    # Less than two decades would otherwise be labelled at every digit, one label over the next.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training FLOPs")
    room = 0.05 * (max(seen) - min(seen)) if seen else 0.0
    axes.set_ylim(max(min(seen) - room, min(seen) / 2), max(seen) + room) if room else None
