"""Accuracy and loss of every arm against sparsity."""

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.records import RunRecord
from lightning_sparse.report.blocks import Picture
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import (
    Looks,
    listed,
    nominal,
    number,
    percent,
)

Measure = Callable[[RunRecord], float]

# Sideways shift of the arms, so that their bars do not cover each other.
_DODGE = 0.018

# A logarithmic axis that spans no more than this has ticks within its decades too.
_FEW_DECADES = 4


def accuracy_on_test(run: RunRecord) -> float:
    """Return the accuracy on the test set, in percent as the axis shows it."""
    return 100 * run.test.accuracy


def training_loss(run: RunRecord) -> float:
    """Return the loss on the fixed training subset, in nats."""
    return run.train.loss


def sparsity_picture(findings: Findings) -> Picture:
    """Draw both measures side by side."""
    with drawing(10, 4.1) as figure:
        left, right = figure.subplots(1, 2)
        draw_arms(left, findings, accuracy_on_test)
        left.set_title("Test accuracy (higher is better)")
        left.set_ylabel("test accuracy [%]")
        draw_arms(right, findings, training_loss)
        right.set_title("Training loss (lower is better)")
        right.set_ylabel("training loss [nats]")
        use_log_scale(right)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels) or 1)
        return picture(figure, "sparsity", _caption(findings))


def draw_arms(axes: Axes, findings: Findings, measure: Measure) -> None:
    """Draw arms without masks as bands, and the others as means with intervals and seeds."""
    for arm in _bands(findings):
        if values := [measure(run) for run in findings.arm(arm)]:
            _draw_band(axes, findings.looks, arm, values)
    middle = (len(findings.masked) - 1) // 2
    for place, arm in enumerate(findings.masked):
        _draw_arm(axes, findings, arm, measure, (place - middle) * _DODGE)
    places = {_place(sparsity): sparsity for sparsity in findings.sparsities}
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda place, _: nominal(1 - 10**-place) if place in places else "")
    )
    axes.set_xlim(min(places) - 0.12, max(places) + 0.12)
    axes.set_xlabel("nominal sparsity (log scale of the kept fraction)")


def use_log_scale(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers at 1, 2 and 5 times powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= _FEW_DECADES else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:zg}"))
    axes.set_ylim(low, high)


def _bands(findings: Findings) -> list[str]:
    return [arm for arm in findings.unmasked if not findings.repeats(arm)]


def _draw_band(axes: Axes, looks: Looks, arm: str, values: Sequence[float]) -> None:
    mean = sum(values) / len(values)
    label = f"{looks.words(arm)} (not pruned)"
    axes.axhline(mean, color=looks.colour(arm), linewidth=1.3, label=label)
    interval = t_interval(values)
    if interval is not None:
        low = max(interval[0], min(values) / 2)
        axes.axhspan(low, interval[1], color=looks.colour(arm), alpha=0.14, linewidth=0)


def _draw_arm(axes: Axes, findings: Findings, arm: str, measure: Measure, shift: float) -> None:
    colour = findings.looks.colour(arm)
    places: list[float] = []
    means: list[float] = []
    for sparsity in findings.sparsities:
        values = [measure(run) for run in findings.arm(arm, sparsity)]
        if not values:
            continue
        place = _place(sparsity) + shift
        places.append(place)
        means.append(sum(values) / len(values))
        axes.plot([place] * len(values), values, "o", color=colour, alpha=0.35, markersize=3.5)
        interval = t_interval(values)
        if interval is not None:
            low = max(interval[0], min(values) / 2)
            axes.plot([place, place], [low, interval[1]], color=colour, linewidth=1.2)
    if places:
        axes.plot(
            places,
            means,
            color=colour,
            marker=findings.looks.marker(arm),
            markersize=6.5,
            markeredgecolor="white",
            linewidth=1.8,
            label=findings.looks.words(arm),
        )


def _place(sparsity: float) -> float:
    """Space sparsities by the logarithm of what is kept: 80, 90, 95, 98 % come out nearly even."""
    return -math.log10(1 - sparsity)


def _caption(findings: Findings) -> str:
    sparsity = findings.headline_sparsity
    groups = [(arm, findings.arm(arm, sparsity)) for arm in findings.masked]
    groups += [(arm, findings.arm(arm)) for arm in _bands(findings)]
    means = [
        f"{findings.looks.words(arm)} {percent(_mean(runs, lambda run: run.test.accuracy))} "
        f"({number(_mean(runs, training_loss), 2)} nats)"
        for arm, runs in groups
        if runs
    ]
    measured = f"At {nominal(sparsity)} sparsity: {listed(means)}. " if means else ""
    return (
        f"Test accuracy and training loss of the arms against sparsity. {measured}"
        "Large markers are means over seeds, bars 95 % intervals, faint dots single seeds; the "
        "grey line and band are the dense arm. The loss axis is logarithmic."
    )


def _mean(runs: Sequence[RunRecord], measure: Measure) -> float:
    return sum(map(measure, runs)) / len(runs)
