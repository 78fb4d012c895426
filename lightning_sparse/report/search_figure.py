"""How strong the search inside the mask is: what more steps would have found."""

import itertools
from collections.abc import Sequence

from lightning_sparse.analysis.experiment import Route, route_of
from lightning_sparse.analysis.measured_descents import measure_descent
from lightning_sparse.records import PathRecord
from lightning_sparse.report.blocks import Block
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.sparsity_figure import use_log_scale
from lightning_sparse.report.style import curve_words, listed, number

_COLOURS = ("#aa3377", "#4477aa", "#228833", "#ccbb44", "#66ccee")

_Lines = dict[Route, list[list[PathRecord]]]


def search_blocks(findings: Findings) -> list[Block]:
    """Draw R against the steps of the fit, where curves were fitted for more than once the steps.

    Returns:
        The figure; nothing where there are no longer fits, or under rules 1.
    """
    lines = {route: _by_seed(findings, route) for route in _searched(findings)}
    lines = {route: seeds for route, seeds in lines.items() if seeds}
    if not lines:
        return []
    with drawing(6.2, 4.0) as figure:
        axes = figure.subplots()
        for (route, seeds), colour in zip(lines.items(), itertools.cycle(_COLOURS), strict=False):
            for number_of_line, paths in enumerate(seeds):
                words = curve_words(route.curve, route.space)
                label = words if not number_of_line else None
                steps = [path.num_steps for path in paths]
                heights = [_height(path) for path in paths]
                axes.plot(
                    steps, heights, marker="o", markersize=3.5, linewidth=1.0, alpha=0.8,
                    color=colour, label=label,
                )  # fmt: skip
        delta = measure_descent(_paths(lines)[0]).margin
        axes.axhline(delta, color="#5a5a5a", linewidth=1.0, linestyle=":", label="delta")
        axes.set_xscale("log")
        use_log_scale(axes)
        tried = sorted({path.num_steps for path in _paths(lines)})
        axes.set_xticks(tried, [f"{count:,}" for count in tried])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("optimizer steps of the fit")
        axes.set_ylabel("descent R [nats]")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        return [picture(figure, "search", _caption(lines))]


def _searched(findings: Findings) -> list[Route]:
    """Return what was to be searched for longer, and what else was between the same ends."""
    asked = findings.asked.searched
    kinds = {(route.start, route.end, route.space) for route in asked}
    found = [route_of(path)._replace(times=1) for path in findings.paths if path.steps_multiplier]
    others = [route for route in found if (route.start, route.end, route.space) in kinds]
    return list(dict.fromkeys([*asked, *others]))


def _by_seed(findings: Findings, route: Route) -> list[list[PathRecord]]:
    """Return the fits of each seed that has longer ones, by their steps."""
    times = sorted({path.steps_multiplier or 1 for path in findings.paths})
    fits = [path for time in times for path in findings.along(route._replace(times=time))]
    seeds = sorted({path.seed for path in fits if path.steps_multiplier})
    return [[path for path in fits if path.seed == seed] for seed in seeds]


def _height(path: PathRecord) -> float:
    """Return R, lifted to a hundredth of delta, since zero has no place on the axis."""
    measured = measure_descent(path)
    return max(measured.descent.value, 0.01 * measured.margin)


def _paths(lines: _Lines) -> list[PathRecord]:
    return [path for seeds in lines.values() for paths in seeds for path in paths]


def _caption(lines: _Lines) -> str:
    means = []
    for route, seeds in lines.items():
        fits = _paths({route: seeds})
        steps = sorted({path.num_steps for path in fits})
        values = [
            number(_mean([path for path in fits if path.num_steps == count]), 2) for count in steps
        ]
        counts = listed(f"{count:,}" for count in steps)
        means.append(f"{route.curve} {listed(values)} nats at {counts} steps")
    return (
        "How far the loss climbs on the way from the scratch solution down to the level of the "
        "pruned one (R), against the steps that the curve inside the mask was fitted for; each "
        f"line is a seed. Means: {'; '.join(means)}. Both axes are logarithmic; R below a "
        "hundredth of delta is drawn there."
    )


def _mean(paths: Sequence[PathRecord]) -> float:
    return sum(measure_descent(path).descent.value for path in paths) / len(paths)
