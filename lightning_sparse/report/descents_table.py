"""How far the loss falls straight down the gradient, inside the mask and outside."""

import math
from collections.abc import Sequence

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.rays import BESIDE, LEAST, POINTS, ROUTES, decrease
from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.records import PathRecord
from lightning_sparse.report.blocks import Block, Paragraph, Row, Table
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import NONE, number

COORDINATES = {
    "inside": "inside the mask",
    "outside": "outside",
    "outside_random": "outside, as many at random",
}


def descents_table(findings: Findings) -> Block:
    """List the largest decrease by point and coordinates; a note where no ray was measured."""
    routes = [
        route
        for point in POINTS
        for ray in COORDINATES
        for route in (*ROUTES, *BESIDE)
        if (route.start, route.ray) == (point, ray)
    ]
    if not any(findings.along(route) for route in routes):
        return Paragraph("No ray has been measured yet.", "note")
    numbers = ["seeds", "decrease [nats]", "95 % interval", "length"]
    return Table(
        columns=["at", "along", *numbers],
        rows=[_row(route, findings.along(route)) for route in routes],
        caption=(
            "The most that the training loss falls straight down its gradient, along weights "
            "inside the mask of the point or outside: geometric means over seeds in which it "
            f"falls, by {LEAST:g} nats at least. Length: of the way to the lowest point, over the "
            "norm of the prunable weights, likewise. What is judged (G) is how much more is to be "
            "had outside than inside at the one point than at the other."
        ),
        numeric=frozenset(numbers),
    )


def _row(route: Route, rays: Sequence[PathRecord]) -> Row:
    falling = [ray for ray in rays if decrease(ray) >= LEAST]
    logs = [math.log(decrease(ray)) for ray in falling]
    interval = t_interval(logs)
    lowest = [math.log(min(ray.points, key=lambda point: point.train.loss).t) for ray in falling]
    return Row(
        [
            route.start,
            COORDINATES[route.ray or ""],
            f"{len(falling)} of {len(rays)}" if len(falling) < len(rays) else str(len(rays)),
            number(math.exp(sum(logs) / len(logs))) if logs else NONE,
            " to ".join(number(math.exp(end)) for end in interval) if interval else NONE,
            number(math.exp(sum(lowest) / len(lowest))) if lowest else NONE,
        ]
    )
