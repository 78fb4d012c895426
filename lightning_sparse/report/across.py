"""The page on runs of many sweeps: three figures with intervals over seeds, and what is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lightning_sparse.analysis.across import (
    Series,
    accuracy_against_sparsity,
    gap_against_length,
    rise_against_rewind_step,
)
from lightning_sparse.arms import Arm
from lightning_sparse.records import Record
from lightning_sparse.report.blocks import Block, Document, Paragraph, Picture, Row, Section, Table
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.pages import write_pages
from lightning_sparse.report.style import (
    NONE,
    Looks,
    number,
)

# Sideways shift of the arms as a share of the axis, so that their bars do not cover each other.
_DODGE = 0.008


def write_across(
    records: Sequence[Record],
    missing: Sequence[str],
    report_dir: Path,
    arms: Mapping[str, Arm],
) -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/`` into a folder.

    Args:
        records: Of any experiments and sweeps.
        missing: Names of runs that are known elsewhere and have no record here.
        report_dir: The folder.
        arms: By name.
        report_dir: Where to write; made if absent.

    Returns:
        The page.
    """
    looks = Looks(arms)
    document = Document(
        title="Across runs",
        opening=[
            Paragraph(
                f"From {len(records)} records on disk. Large markers are means over seeds, bars "
                "95 % intervals (Student's t), faint dots single seeds."
            ),
            *_missing(missing),
        ],
        sections=[
            _section(
                "Accuracy against sparsity",
                accuracy_against_sparsity(records),
                "accuracy-against-sparsity",
                ("nominal sparsity", "test accuracy"),
                looks,
            ),
            _section(
                "Gap against training length",
                gap_against_length(records),
                "gap-against-length",
                ("optimizer steps", "test accuracy of the pruned run minus the arm's"),
                looks,
            ),
            _section(
                "Rise against rewind step",
                rise_against_rewind_step(records, arms),
                "rise-against-rewind-step",
                ("rewind step", "largest rise of the training loss [nats]"),
                looks,
            ),
        ],
    )
    return write_pages(document, report_dir)


def _missing(names: Sequence[str]) -> list[Block]:
    if not names:
        return []
    listed = ", ".join(names)
    return [
        Paragraph(f"Without a finished record on this disk, hence not shown: {listed}.", "note")
    ]


def _section(
    title: str, series: Sequence[Series], name: str, labels: tuple[str, str], looks: Looks
) -> Section:
    if not series:
        return Section(title, [Paragraph("No record of such runs.", "note")])
    return Section(
        title, [_figure(title, series, name, labels, looks), _table(series, labels, looks)]
    )


def _figure(
    title: str, series: Sequence[Series], name: str, labels: tuple[str, str], looks: Looks
) -> Picture:
    with drawing(6.4, 4.0) as figure:
        axes = figure.subplots()
        places = sorted({point.x for line in series for point in line.points})
        span = places[-1] - places[0] or 1.0
        for rank, line in enumerate(series):
            _draw(axes, line, (rank - (len(series) - 1) / 2) * _DODGE * span, looks)
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:zg}"))
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend()
        left_out = sum(line.num_left_out for line in series)
        rest = f" {left_out} records with other settings are left out." if left_out else ""
        return picture(figure, name, f"{title}.{rest}")


def _draw(axes: Axes, line: Series, shift: float, looks: Looks) -> None:
    colour = looks.colour(line.name)
    for point in line.points:
        values = list(point.values.values())
        axes.plot([point.x + shift] * len(values), values, "o", color=colour, alpha=0.35, ms=3.5)
        if point.interval is not None:
            axes.plot([point.x + shift] * 2, point.interval, color=colour, linewidth=1.2)
    axes.plot(
        [point.x + shift for point in line.points],
        [point.mean for point in line.points],
        color=colour,
        marker=looks.marker(line.name),
        markersize=6.5,
        markeredgecolor="white",
        linewidth=1.8,
        label=looks.words(line.name),
    )


def _table(series: Sequence[Series], labels: tuple[str, str], looks: Looks) -> Table:
    rows = [
        Row(
            [
                looks.words(line.name),
                f"{point.x:zg}",
                number(point.mean),
                f"{number(point.interval[0])} to {number(point.interval[1])}"
                if point.interval
                else NONE,
                str(len(point.values)),
                ", ".join(point.records),
            ]
        )
        for line in series
        for point in line.points
    ]
    columns = ["", labels[0], labels[1], "95 % interval", "seeds", "records"]
    return Table(columns, rows, numeric=frozenset(columns[1:5]))
