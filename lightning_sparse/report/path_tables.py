"""What was drawn: every kind of path, its rises, barriers and lengths, summed up over seeds."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from lightning_sparse.analysis.experiment import Route, route_of
from lightning_sparse.analysis.measured_rises import measure_rise
from lightning_sparse.records import PathRecord
from lightning_sparse.report.blocks import Block, Inline, Paragraph, Row, Small, Table, Text
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.page_rules import Measure
from lightning_sparse.report.style import NONE, Looks, curve_words, nominal, number
from lightning_sparse.rises import Rise


def route_words(route: Route, looks: Looks) -> str:
    """Name a kind of path in full."""
    if route.ray is not None:
        along = route.ray.replace("_", " ")
        return f"{looks.point(route.start)}, straight down the gradient {along}"
    ends = f"{looks.point(route.start)} → {looks.point(route.end)}"
    return f"{ends}, {curve_words(route.curve, route.space)}{route.details}"


def longer_words(times: int | None) -> str:
    """Say that a curve was fitted for more than the experiment's own steps; nothing if it was not.

    Example:
        >>> longer_words(4), longer_words(None)
        (', 4 times the steps', '')
    """
    return f", {times} times the steps" if times and times > 1 else ""


def path_blocks(findings: Findings) -> list[Block]:
    """Return the tables of rises and of geometry, and a note on what is missing."""
    if not findings.paths:
        return [Paragraph("No path has been measured.", "note")]
    groups = _groups(findings)
    blocks: list[Block] = [_rise_table(groups, findings), _geometry_table(groups, findings)]
    return [*blocks, *_notes(findings)]


def missing_routes(findings: Findings, routes: Sequence[Route] | None = None) -> str:
    """Say which of ``routes``, or of all expected, lack for some or all seeds; empty if none."""
    routes = findings.asked.routes if routes is None else routes
    seeds = {path.seed for path in findings.paths}
    gaps = []
    for route in routes:
        absent = sorted(seeds - {path.seed for path in findings.along(route)})
        if absent or not seeds:
            partly = f" (seeds {', '.join(map(str, absent))})" if len(absent) < len(seeds) else ""
            gaps.append(route_words(route, findings.looks) + partly)
    return f"Not measured: {'; '.join(gaps)}." if gaps else ""


def _notes(findings: Findings) -> list[Block]:
    missing = missing_routes(findings)
    notes = [missing] if missing else []
    rough = [path for path in findings.paths if not path.refinement_converged]
    if rough:
        notes.append(f"On {len(rough)} of {len(findings.paths)} paths {findings.page.unrefined}")
    worse = [path for path in findings.paths if measure_rise(path).ends_are_reversed]
    if worse:
        notes.append(
            f"On {len(worse)} of {len(findings.paths)} paths the end at t = 1 has the higher loss."
        )
    return [Paragraph(note, "note") for note in notes]


def _groups(findings: Findings) -> list[list[PathRecord]]:
    """Return the paths of one kind and sparsity, expected kinds first."""
    places = {route: place for place, route in enumerate(findings.asked.routes)}
    kinds = sorted(findings.routes, key=lambda kind: (places.get(kind[0], math.inf), kind[1]))
    return [
        sorted(
            (
                path
                for path in findings.paths
                if route_of(path) == route and path.target_sparsity == sparsity
            ),
            key=lambda path: path.seed,
        )
        for route, sparsity in kinds
    ]


def _rise_table(groups: Sequence[Sequence[PathRecord]], findings: Findings) -> Table:
    page = findings.page

    def cell(paths: Sequence[PathRecord], measure: Measure) -> Text:
        limits = [page.limit(path) for path in paths]
        return _spread(map(measure, paths), limits, page.limit_words)

    return _table(groups, findings, page.measures, page.measures_caption, cell)


def _geometry_table(groups: Sequence[Sequence[PathRecord]], findings: Findings) -> Table:
    measures: dict[str, Measure] = {
        "rise begins at t": lambda path: _place(measure_rise(path).rise, "from_t"),
        "ends at t": lambda path: _place(measure_rise(path).rise, "to_t"),
        "distance of the ends": lambda path: path.distance,
        "length": lambda path: path.length,
        "steps of the fit": lambda path: path.num_steps or None,
        "objective of the fit": lambda path: path.fit_objective,
    }
    return _table(
        groups,
        findings,
        measures,
        "Where the largest rise lies, distances and lengths in weight space (Euclidean), and how "
        "the curves were fitted (lines are not; the objective of the fit is the smoothed and "
        "regularised one, in nats, at its end): mean over seeds, smallest and largest below it.",
        lambda paths, measure: _spread(map(measure, paths)),
    )


def _table(
    groups: Sequence[Sequence[PathRecord]],
    findings: Findings,
    measures: Mapping[str, Measure],
    caption: str,
    cell: Callable[[Sequence[PathRecord], Measure], Text],
) -> Table:
    return Table(
        columns=["path", *measures, "records"],
        rows=[
            Row(
                cells=[
                    _path_words(paths[0], findings.looks),
                    *(cell(paths, measure) for measure in measures.values()),
                    findings.references(path.run_id for path in paths),
                ]
            )
            for paths in groups
        ],
        caption=caption,
        numeric=frozenset(measures),
    )


def _path_words(path: PathRecord, looks: Looks) -> Text:
    ends = f"{looks.point(path.start)} → {looks.point(path.end)}"
    form = curve_words(path.curve, path.space)
    form += longer_words(path.steps_multiplier)
    at = f" at {nominal(path.target_sparsity)}" if path.target_sparsity else ""
    # On one line: two names that break anywhere are hard to tell from their neighbours.
    return [ends.replace(" ", "\N{NO-BREAK SPACE}"), Small(form + at)]


def _place(rise: Rise, end: Literal["from_t", "to_t"]) -> float | None:
    """Return where a rise begins or ends; nowhere if nothing rises."""
    return float(getattr(rise, end)) if rise.value > 0 else None


def _spread(
    values: Iterable[float | None], limits: Sequence[float | None] = (), limit_words: str = ""
) -> Text:
    """Write the mean over seeds, the smallest and the largest where they differ, and a count.

    Args:
        values: Of each seed; None where there is none.
        limits: Up to which a seed is counted, likewise; empty for no count.
        limit_words: What they are called.
    """
    values = list(values)
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    low, high = number(min(known), 2), number(max(known), 2)
    text: list[Inline] = [number(sum(known) / len(known))]
    if low != high:
        text.append(Small(f"{low} to {high}"))
    compared = [
        value <= limit
        for value, limit in zip(values, limits, strict=False)
        if value is not None and limit is not None
    ]
    if compared:
        text.append(Small(f"{sum(compared)} of {len(compared)} {limit_words}"))
    return text
