"""Loss along paths: one panel per comparison, one trace per kind of path."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.needs import joined, ordered
from lightning_sparse.points import parse_point
from lightning_sparse.records import PathRecord
from lightning_sparse.report.blocks import Picture
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings, losses_along
from lightning_sparse.report.page_rules import PageRules
from lightning_sparse.report.sparsity_figure import use_log_scale
from lightning_sparse.report.style import (
    CONTROL,
    LineStyle,
    Looks,
    curve_style,
    curve_words,
    listed,
    nominal,
    number,
)
from lightning_sparse.rises import Rise

_SPACE_LABELS = {"line": "straight line", "sparse": "inside the mask", "dense": "dense space"}

# Narrower strips are the margin of the axes, not extrapolation.
_SMALLEST_SHADE = 0.1


@dataclass(frozen=True)
class Trace:
    """One kind of path in a panel."""

    route: Route
    label: str
    style: LineStyle


@dataclass(frozen=True)
class Panel:
    """Paths that share an axis; ``start`` and ``end`` name what lies at t = 0 and t = 1.

    ``sparsity`` is that of the paths, None for that of the claims.
    """

    title: str
    start: str
    end: str
    traces: Sequence[Trace]
    sparsity: float | None = None


def start_panels(findings: Findings) -> list[Panel]:
    """Return what leads down from each start: the lines that are judged, over those beside them."""
    lines = [
        (route, needed.decides)
        for needed in findings.asked.shown
        for route in needed.routes
        if _leads_from_start(route)
    ]
    panels = []
    for start in dict.fromkeys(route.start for route, _ in lines):
        # What is judged is drawn over the others.
        own = sorted((item for item in lines if item[0].start == start), key=lambda item: item[1])
        traces = [_from_start(route, findings.looks, decides=decides) for route, decides in own]
        words = findings.looks.point(start)
        panels.append(Panel(f"From the {words}", words, "solution", traces))
    return panels


def _from_start(route: Route, looks: Looks, *, decides: bool) -> Trace:
    colour = looks.colour(parse_point(route.start).run)
    style = LineStyle(colour, "solid", "o") if decides else CONTROL
    return Trace(route, f"to {looks.point(route.end)}", style)


def _leads_from_start(route: Route) -> bool:
    return parse_point(route.start).moment == "start" and not route.is_fitted


def solution_panels(findings: Findings) -> list[Panel]:
    """Return what lies between solutions: one panel per curve, and the lines that have none."""
    panels = []
    for (start, end), routes in joined(findings.asked.shown):
        curves = dict.fromkeys(
            [route.curve for route in routes if route.is_fitted] + _drawn(findings, start, end)
        )
        panels += [curve_panel(start, end, curve, findings.looks) for curve in curves]
        if not curves and not _leads_from_start(routes[0]):
            title = f"From the {findings.looks.point(start)}"
            panels.append(_panel(title, routes, findings.looks))
    return panels


def _drawn(findings: Findings, start: str, end: str) -> list[str]:
    """Return the curves that were fitted between two points, whoever asked for them."""
    return [
        route.curve
        for route, sparsity in findings.routes
        if route.is_fitted
        and (route.start, route.end, route.times) == (start, end, 1)
        and math.isclose(sparsity, findings.headline_sparsity)
    ]


def control_panels(findings: Findings) -> list[Panel]:
    """Return what a curve should join, or else the search is too weak."""
    panels, looks, control_sparsity = [], findings.looks, findings.control_sparsity
    for needed in (needed for control in findings.asked.controls for needed in control.needs):
        routes = ordered([needed])
        if not findings.has_sparsity(routes[0]):
            panels.append(in_full(_panel("Between two dense solutions", routes, looks)))
        elif needed.at == "headline":
            panels.append(_panel(f"From the {looks.point(routes[0].start)}", routes, looks))
        elif control_sparsity is not None:
            in_mask = _panel(f"Inside the mask at {nominal(control_sparsity)}", routes, looks)
            panels.append(dataclasses.replace(in_mask, sparsity=control_sparsity))
    return panels


def curve_panel(start: str, end: str, curve: str, looks: Looks) -> Panel:
    """Return the line with the curves of one shape, inside the mask and in the dense space."""
    routes = [
        Route(start, end),
        Route(start, end, curve, "sparse"),
        Route(start, end, curve, "dense"),
    ]
    plural = f"{curve}s" if curve.endswith(" curve") else curve
    return _panel(plural[0].upper() + plural[1:], routes, looks)


def in_full(panel: Panel) -> Panel:
    """Return the panel with the full name of each curve in its legend, for a wide figure."""
    traces = [
        dataclasses.replace(trace, label=curve_words(trace.route.curve, trace.route.space))
        for trace in panel.traces
    ]
    return dataclasses.replace(panel, traces=traces)


def paths_picture(findings: Findings, panels: Sequence[Panel], name: str, lead: str) -> Picture:
    """Draw panels in a row over one loss axis.

    Args:
        findings: Where the paths are.
        panels: From left to right.
        name: Stem of the files.
        lead: First sentence of the caption; what was measured follows it.
    """
    width = 3.35 * len(panels) if len(panels) > 1 else 6.2
    with drawing(width, 4.3) as figure:
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            draw_panel(axes, findings, panel)
        use_log_scale(all_axes[0])
        all_axes[0].set_ylabel("training loss [nats]")
        words = _rises_in_words(findings, panels)
        caption = f"{lead} {words} {findings.page.marks_caption}"
        return picture(figure, name, " ".join(caption.split()))


def draw_panel(axes: Axes, findings: Findings, panel: Panel) -> None:
    """Draw every trace that has records, and say so in the panel if none has."""
    found = [(trace, findings.along(trace.route, panel.sparsity)) for trace in panel.traces]
    found = [(trace, paths) for trace, paths in found if paths]
    for trace, paths in found:
        _draw_trace(axes, trace, paths, findings.page)
    axes.set_title(panel.title)
    axes.set_xticks(
        [0, 0.5, 1],
        [f"0\n{_two_lines(panel.start)}", "0.5", f"1\n{_two_lines(panel.end)}"],
        linespacing=1.35,
    )
    axes.set_xlabel("position t on the path")
    if found:
        _shade_extrapolation(axes)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), handlelength=2.6)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="#777777")


def mean_along(paths: Sequence[PathRecord]) -> tuple[list[float], list[float]]:
    """Average the loss over seeds, at every t that one of them was measured at.

    Seeds are refined at different places; between its own points a seed counts by interpolation.
    The mean ends where the first seed ends.
    """
    low = max(path.points[0].t for path in paths)
    high = min(path.points[-1].t for path in paths)
    ts = sorted({point.t for path in paths for point in path.points if low <= point.t <= high})
    losses = [np.interp(ts, *losses_along(path)) for path in paths]
    return ts, [float(value) for value in np.mean(losses, axis=0)]


def _panel(title: str, routes: Sequence[Route], looks: Looks) -> Panel:
    start, end = routes[0].start, routes[0].end
    traces = [
        Trace(
            route,
            _SPACE_LABELS[route.space],
            curve_style(route.curve, route.space),
        )
        for route in routes
    ]
    return Panel(title, looks.point(start), looks.point(end), traces)


def _draw_trace(axes: Axes, trace: Trace, paths: Sequence[PathRecord], page: PageRules) -> None:
    style = trace.style
    for path in paths:
        axes.plot(*losses_along(path), color=style.colour, linewidth=0.7, alpha=0.45)
        _mark(axes, path, page.mark(path), style)
    ts, means = mean_along(paths)
    axes.plot(
        ts,
        means,
        color=style.colour,
        linestyle=style.dashes,
        linewidth=2.1,
        label=f"{trace.label}, {page.in_words(paths)}",
    )


def _two_lines(words: str) -> str:
    """Break a name before its last word, so that neighbouring tick labels keep apart."""
    return "\n".join(words.rsplit(" ", 1))


def _mark(axes: Axes, path: PathRecord, rise: Rise | None, style: LineStyle) -> None:
    if rise is None:
        return
    losses = dict(zip(*losses_along(path), strict=True))
    for t, marker in ((rise.from_t, "o"), (rise.to_t, "^")):
        axes.plot(
            [t],
            [losses[t]],
            marker,
            color=style.colour,
            markersize=4,
            markerfacecolor="white",
            markeredgewidth=0.9,
            zorder=3,
        )


def _shade_extrapolation(axes: Axes) -> None:
    low, high = axes.get_xlim()
    for left, right in ((low, 0), (1, high)):
        if right - left > _SMALLEST_SHADE:
            axes.axvspan(left, right, color="#f1f1f1", linewidth=0, zorder=0)
            axes.text(
                (left + right) / 2,
                0.02,
                "extrapolation",
                transform=axes.get_xaxis_transform(),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=7.5,
                color="#8a8a8a",
            )
    axes.set_xlim(low, high)


def _rises_in_words(findings: Findings, panels: Sequence[Panel]) -> str:
    """Say how far each path rises, as a mean over seeds, grouped by its ends."""
    rises: dict[str, dict[str, str]] = {}
    drawn = [(trace.route, panel.sparsity) for panel in panels for trace in panel.traces]
    has_curves = any(route.is_fitted for route, _ in drawn)
    for route, sparsity in drawn:
        paths = findings.along(route, sparsity)
        if paths:
            mean = sum(map(findings.page.height, paths)) / len(paths)
            form = f"{curve_words(route.curve, route.space)} " if has_curves else ""
            at = "" if sparsity is None else f" at {nominal(sparsity)}"
            ends = f"{findings.looks.point(route.start)} to {findings.looks.point(route.end)}{at}"
            rises.setdefault(ends, {})[form] = f"{form}{number(mean, 2)}"
    groups = [f"{ends}: {listed(forms.values())}" for ends, forms in rises.items()]
    return f"{findings.page.height_words}, mean over seeds, from {'; from '.join(groups)}."
