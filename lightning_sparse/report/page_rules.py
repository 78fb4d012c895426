"""What a page shows of paths, and in which words, under each set of rules of PROTOCOL.md."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lightning_sparse.analysis.measured_descents import measure_descent
from lightning_sparse.analysis.measured_rises import measure_rise
from lightning_sparse.records import PathRecord
from lightning_sparse.report.glossary import TERMS_OF_RULES_1, TERMS_OF_RULES_2
from lightning_sparse.report.style import number
from lightning_sparse.rises import Rise

Measure = Callable[[PathRecord], float | None]


@dataclass(frozen=True, kw_only=True)
class PageRules:
    """What depends on the rules.

    Attributes:
        terms: Those of its measures, with their meanings.
        measures: Columns of the table of rises.
        measures_caption: What stands above it.
        limit: Of a path, up to which the table counts seeds; None for no count.
        limit_words: What it is called.
        mark: The rise that is marked on a drawn path; None if it is too small to count.
        marks_caption: What the marks in a figure mean.
        in_words: What a legend says of paths of one kind.
        height: The number of a path that captions give the mean of.
        height_words: What it is.
        record_columns: Columns of the list of path records.
        records_caption: What stands above it.
        unrefined: What is said of paths whose refinement did not come to rest.
    """

    terms: Sequence[tuple[str, str]]
    measures: Mapping[str, Measure]
    measures_caption: str
    limit: Measure
    limit_words: str
    mark: Callable[[PathRecord], Rise | None]
    marks_caption: str
    in_words: Callable[[Sequence[PathRecord]], str]
    height: Callable[[PathRecord], float]
    height_words: str
    record_columns: Mapping[str, Callable[[PathRecord], float]]
    records_caption: str
    unrefined: str


def _mark_of_rules_1(path: PathRecord) -> Rise | None:
    return measure_rise(path).counted


def _words_of_rules_1(paths: Sequence[PathRecord]) -> str:
    """Say between what the largest rises of the seeds lie, if any of them counts."""
    if not any(map(_mark_of_rules_1, paths)):
        return "rise below tol"
    return f"rise {_range([measure_rise(path).rise.value for path in paths])}"


def _mark_of_rules_2(path: PathRecord) -> Rise | None:
    return measure_descent(path).counted


def _words_of_rules_2(paths: Sequence[PathRecord]) -> str:
    """Say between what the descents of the seeds lie, if any of them is above delta."""
    if not any(map(_mark_of_rules_2, paths)):
        return "R within delta"
    return f"R {_range([measure_descent(path).descent.value for path in paths])}"


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values), 2), number(max(values), 2)
    return low if low == high else f"{low} to {high}"


FIRST = PageRules(
    terms=TERMS_OF_RULES_1,
    measures={
        "largest rise of the loss": lambda path: measure_rise(path).rise.value,
        "tolerance": lambda path: measure_rise(path).tolerance,
        "largest rise of the objective": lambda path: measure_rise(path, "objective").rise.value,
        "barrier over the chord": lambda path: measure_rise(path).barriers.chord,
        "over the mean of the ends": lambda path: measure_rise(path).barriers.mean_of_ends,
        "over the worse end": lambda path: measure_rise(path).barriers.worse_end,
    },
    measures_caption=(
        "Rises and barriers along each path, of the training loss unless said otherwise, in nats: "
        "mean over seeds, smallest and largest below it. The last three are the barriers of the "
        "literature; no claim uses them. Percentages are nominal sparsities."
    ),
    limit=lambda _: None,
    limit_words="",
    mark=_mark_of_rules_1,
    marks_caption=(
        "Thin lines are single seeds, thick lines their mean; a circle and a triangle mark where "
        "the largest rise of a seed begins and ends, if it exceeds the tolerance. Shaded: "
        "extrapolation, drawn but never judged. The loss axis is logarithmic."
    ),
    in_words=_words_of_rules_1,
    height=lambda path: measure_rise(path).rise.value,
    height_words="Largest rise in nats",
    record_columns={
        "largest rise": lambda path: measure_rise(path).rise.value,
        "tolerance": lambda path: measure_rise(path).tolerance,
    },
    records_caption="Records of paths. Losses, rises and tolerances in nats.",
    unrefined="the last refinement of the grid still moved the largest rise by 2 % or more.",
)

SECOND = PageRules(
    terms=TERMS_OF_RULES_2,
    measures={
        "descent R": lambda path: measure_descent(path).descent.value,
        "rise M": lambda path: measure_descent(path).rise.value,
        "barrier H": lambda path: measure_descent(path).barriers.worse_end,
        "R of the objective": lambda path: measure_descent(path, "objective").descent.value,
        "M of the objective": lambda path: measure_descent(path, "objective").rise.value,
        "H of the objective": lambda path: measure_descent(path, "objective").barriers.worse_end,
    },
    measures_caption=(
        "Descent, rise and barrier along each path, of the training loss unless said otherwise, in "
        "nats: mean over seeds, smallest and largest below it, and in how many seeds it stays "
        "within delta. Percentages are nominal sparsities."
    ),
    limit=lambda path: measure_descent(path).margin,
    limit_words="within delta",
    mark=_mark_of_rules_2,
    marks_caption=(
        "Thin lines are single seeds, thick lines their mean; a circle and a triangle mark where "
        "the descent R of a seed begins and ends, if it exceeds delta. Shaded: extrapolation, "
        "drawn but never judged. The loss axis is logarithmic."
    ),
    in_words=_words_of_rules_2,
    height=lambda path: measure_descent(path).descent.value,
    height_words="Descent R in nats",
    record_columns={
        "R": lambda path: measure_descent(path).descent.value,
        "M": lambda path: measure_descent(path).rise.value,
        "H": lambda path: measure_descent(path).barriers.worse_end,
    },
    records_caption="Records of paths. Losses, descents R, rises M and barriers H in nats.",
    unrefined="the refinement did not come to rest.",
)

PAGES: Mapping[int, PageRules] = {1: FIRST, 2: SECOND}
