"""The lowest path that a search inside the mask has found, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_descents import MeasuredDescent, measure_descent
from lightning_sparse.analysis.stronger_search import (
    QUADRATICS,
    seeds_searched,
    times_in,
    with_steps,
)
from lightning_sparse.records import PathRecord
from lightning_sparse.report.blocks import Block
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings, losses_along
from lightning_sparse.report.sparsity_figure import use_log_scale
from lightning_sparse.report.style import IN_MASK, STRAIGHT, listed, number

_COLUMNS = 5
_LOWEST = "#4477aa"


@dataclass(frozen=True)
class _Found:
    """The path of one seed that climbs least, among all that were searched or among a few."""

    path: PathRecord
    measured: MeasuredDescent


def lowest_blocks(findings: Findings) -> list[Block]:
    """Draw the loss along the lowest path of every seed that was searched; nothing without one."""
    experiment = ExperimentRecords.from_records(findings.records)
    routes = with_steps(times_in(experiment, findings.headline_sparsity))
    lowest = {seed: _lowest(findings, routes, seed) for seed in seeds_searched(experiment)}
    found = {seed: one for seed, one in lowest.items() if one is not None}
    if not found:
        return []
    columns = min(_COLUMNS, -(-len(found) // 2))
    rows = -(-len(found) // columns)
    with drawing(7.4, 2.1 * rows + 0.5) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        quadratics = {seed: _lowest(findings, QUADRATICS, seed) for seed in found}
        for axes, (seed, one) in zip(panels.flat, found.items(), strict=False):
            _draw(axes, one, quadratics[seed])
            axes.set_title(f"seed {seed}")
        for axes in panels.flat[len(found) :]:
            axes.set_visible(False)
        use_log_scale(panels[0, 0])
        for axes in panels[-1]:
            axes.set_xlabel("position t")
            axes.set_xticks([0, 0.5, 1])
        for axes in panels[:, 0]:
            axes.set_ylabel("training loss [nats]")
        lines = panels[0, 0].get_legend_handles_labels()
        figure.legend(*lines, loc="outside lower center", ncols=2)
        lacking = [str(seed) for seed, one in quadratics.items() if one is None]
        return [picture(figure, "lowest", _caption(found, lacking))]


def _lowest(findings: Findings, routes: Sequence[Route], seed: int) -> _Found | None:
    paths = [path for route in routes for path in findings.along(route) if path.seed == seed]
    found = [_Found(path, measure_descent(path)) for path in paths]
    return min(found, key=lambda one: one.measured.descent.value, default=None)


def _draw(axes: Axes, lowest: _Found, quadratic: _Found | None) -> None:
    if quadratic is not None:
        axes.plot(
            *_between(quadratic.path), color=IN_MASK.colour, linewidth=1.0, alpha=0.7,
            label=f"lowest quadratic, {quadratic.path.num_steps:,} steps",
        )  # fmt: skip
    axes.plot(
        *_between(lowest.path), color=_LOWEST, linewidth=1.5,
        label="lowest of all that was searched",
    )  # fmt: skip
    (start,) = (point for point in lowest.path.points if point.t == 0)
    axes.axhline(
        start.train.loss + lowest.measured.margin, color=STRAIGHT.colour, linewidth=0.9,
        linestyle=STRAIGHT.dashes, label="scratch solution plus delta",
    )  # fmt: skip


def _between(path: PathRecord) -> tuple[list[float], list[float]]:
    """Return t and the loss between the ends alone, since beyond them lies another question."""
    along = [(t, loss) for t, loss in zip(*losses_along(path), strict=True) if 0 <= t <= 1]
    return [t for t, _ in along], [loss for _, loss in along]


def _caption(found: Mapping[int, _Found], lacking: Sequence[str]) -> str:
    kinds: dict[str, list[str]] = {}
    for seed, one in found.items():
        kind = f"{one.path.curve}, {one.path.num_steps:,} steps"
        climbed = f"{number(one.measured.descent.value)} (seed {seed})"
        kinds.setdefault(kind, []).append(climbed)
    climbs = "; ".join(f"{kind}: {listed(climbed)}" for kind, climbed in kinds.items())
    unasked = (
        f" No quadratic was fitted in {listed(lacking)}: a seed in which a path leads down is not "
        "searched on."
        if lacking
        else ""
    )
    return (
        "Training loss from the scratch solution (t = 0) to the pruned one (t = 1) along the path "
        "inside their mask that climbs least, and along the lowest quadratic curve. How far the "
        f"first climbs before it reaches the level of the pruned solution, R in nats: {climbs}. "
        f"The loss axis is logarithmic.{unasked}"
    )
