"""How far one climbs inside the mask on curves of more points, beside what they may move."""

import math
from collections.abc import Sequence

from lightning_sparse.analysis.critical_share import ORDERS, SEARCHES, SHARES, route_to
from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.measured_descents import MeasuredDescent, measure_descent
from lightning_sparse.analysis.stronger_search import (
    CURVES,
    DEGREES,
    LINE,
    OF_DEGREES,
    SEARCHED,
)
from lightning_sparse.records import PathRecord, curve_of_degree
from lightning_sparse.report.blocks import Block, Paragraph, Row, Table
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import NONE, number, percent

_LEAST = 1e-4  # nats; below it a logarithm would say more than was measured
_NUMBERS = ("seeds", "least R [nats]", "R <= delta in")


def searches_table(findings: Findings) -> Block:
    """List the least R of every kind of curve and number of steps; a note where there are none."""
    times = sorted({path.steps_multiplier or 1 for path in findings.paths if path.is_fitted})
    rows = [["straight line", "0", *_least(findings, [LINE])]]
    for curve in CURVES:
        routes = [route for route in SEARCHED if route.curve == curve]
        for each in times:
            found = [route._replace(times=each) for route in routes]
            steps = max((path.num_steps for path in _paths(findings, found)), default=None)
            if steps is not None:
                rows.append([curve, f"{steps:,}", *_least(findings, found)])
    if len(rows) == 1:
        return Paragraph("Nothing has been searched inside the mask yet.", "note")
    return Table(
        columns=["path", "steps", *_NUMBERS],
        rows=[Row([*row]) for row in rows],
        caption=(
            "From the scratch solution to the pruned one inside their mask: the least descent R "
            "over restarts, geometric means over seeds. B+ asks for the least of all."
        ),
        numeric=frozenset({"steps", *_NUMBERS}),
    )


def degrees_table(findings: Findings) -> Block:
    """Set curves of higher degree beside quadratic ones with freed coordinates."""
    inside = [
        [f"degree {degree} in the mask", *_with_coordinates(findings, routes, degree - 1)]
        for degree, routes in _by_degree()
    ]
    freed = [
        [
            f"quadratic, {percent(share)} of the rest by {ORDERS[0]}",
            *_with_coordinates(findings, _freed(share), 1),
        ]
        for share in SHARES[1:]
    ]
    numbers = ["free coordinates", *_NUMBERS]
    return Table(
        columns=["curve", *numbers],
        rows=[Row([*row]) for row in [*inside, *freed]],
        caption=(
            "Is it coordinates, or which? Prunable weights that control points may move, over all "
            "of these, and the least descent R of the searches: geometric means over seeds."
        ),
        numeric=frozenset(numbers),
    )


def _by_degree() -> list[tuple[int, Sequence[Route]]]:
    return [
        (2, _freed(0.0)),
        *(
            (degree, [one for one in OF_DEGREES if one.curve == curve_of_degree(degree)])
            for degree in DEGREES
        ),
    ]


def _freed(share: float) -> list[Route]:
    return [route_to(share, ORDERS[0], search) for search in SEARCHES]


def _with_coordinates(findings: Findings, routes: Sequence[Route], points: int) -> list[str]:
    kept = [path.kept for path in _paths(findings, routes) if path.kept is not None]
    coordinates = f"{points * sum(kept) / len(kept):,.0f}" if kept else NONE
    return [coordinates, *_least(findings, routes)]


def _paths(findings: Findings, routes: Sequence[Route]) -> list[PathRecord]:
    return [path for route in routes for path in findings.along(route)]


def _least(findings: Findings, routes: Sequence[Route]) -> list[str]:
    """Return seeds, mean, and in how many it lies within the margin, which is each path's own."""
    by_seed: dict[int, list[MeasuredDescent]] = {}
    for path in _paths(findings, routes):
        by_seed.setdefault(path.seed, []).append(measure_descent(path))
    if not by_seed:
        return ["0", NONE, NONE]
    least = [min(one.descent.value for one in paths) for paths in by_seed.values()]
    logs = [math.log(max(value, _LEAST)) for value in least]
    within = sum(any(one.is_descent for one in paths) for paths in by_seed.values())
    return [str(len(least)), number(math.exp(sum(logs) / len(logs))), str(within)]
