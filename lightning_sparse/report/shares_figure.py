"""How far one climbs against the share of coordinates that is free, and the critical share."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from lightning_sparse.analysis.critical_share import (
    ORDERS,
    SHARES,
    critical_share,
    is_complete,
    least_descents,
    seeds_with_shares,
    tried_in,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.report.blocks import Block, Paragraph, Picture, Row, Table
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.sparsity_figure import use_log_scale
from lightning_sparse.report.style import NONE, percent

COLOURS = {"random": "#4477aa", "gradient": "#aa3377", "magnitude": "#c98500"}
_NOTHING = 0.004  # where x = 0 is drawn on a logarithmic axis

Tried = Mapping[float, Sequence[float]]


def shares_blocks(findings: Findings) -> list[Block]:
    """Draw and list what is known of critical shares; a note where nothing was freed."""
    experiment = ExperimentRecords.from_records(findings.records)
    found = {order: _by_seed(experiment, order, findings.headline_sparsity) for order in ORDERS}
    if not any(found.values()):
        return [Paragraph("No coordinates outside the mask have been freed yet.", "note")]
    return [_picture(found), _table(found)]


_Found = Mapping[str, Mapping[int, tuple[Tried, float]]]


def _by_seed(
    experiment: ExperimentRecords, order: str, sparsity: float
) -> Mapping[int, tuple[Tried, float]]:
    """Return by seed what was tried and the margin, where all was tried that there is to try."""
    found = {}
    for seed in seeds_with_shares(experiment):
        tried, margin = tried_in(experiment, seed, order, sparsity)
        if is_complete(tried, margin):
            found[seed] = (tried, margin)
    return found


def _picture(found: _Found) -> Picture:
    with drawing(7.4, 4.2) as figure:
        axes = figure.subplots()
        for order, seeds in found.items():
            _draw(axes, order, [tried for tried, _ in seeds.values()])
        margins = [margin for seeds in found.values() for _, margin in seeds.values()]
        axes.axhline(margins[0], color="#5a5a5a", linewidth=1.0, linestyle=":", label="delta")
        for place, (order, seeds) in enumerate(found.items()):
            _draw_critical(axes, order, _logs(seeds), margins[0] * 1.35 ** (place + 1))
        axes.set_xscale("log")
        axes.set_xticks([_NOTHING, *SHARES[1:]], ["0", *(f"{share:.0%}" for share in SHARES[1:])])
        axes.minorticks_off()
        use_log_scale(axes)
        axes.set_xlabel("share x of the coordinates outside the mask that are free")
        axes.set_ylabel("descent R(x) [nats]")
        figure.legend(loc="outside right upper")
        return picture(figure, "shares", _CAPTION)


_CAPTION = (
    "How far the loss climbs on the way from the scratch solution down to the level of the pruned "
    "one, on quadratic curves whose control point may use the mask and a share x of what it leaves "
    "out. Lines: geometric means over seeds of the running minimum over x and both searches. Bands "
    "lie between the two searches at each share. Above delta, the critical share x*: a diamond and "
    "a bar are its geometric mean with the 95 % interval, small lines the seeds. R below "
    "0.0001 nats is drawn there. Both axes are logarithmic, with x = 0 at their left."
)
_LEAST = 1e-4


def _draw(axes: Axes, order: str, seeds: Sequence[Tried]) -> None:
    """Draw what all seeds have tried."""
    shares = sorted(set.intersection(*map(set, seeds))) if seeds else []
    if not shares:
        return
    places = [max(share, _NOTHING) for share in shares]
    least = [least_descents(tried) for tried in seeds]
    low = [_mean([min(tried[share]) for tried in seeds]) for share in shares]
    high = [_mean([max(tried[share]) for tried in seeds]) for share in shares]
    middle = [_mean([found[share] for found in least]) for share in shares]
    axes.fill_between(places, low, high, color=COLOURS[order], alpha=0.15, linewidth=0)
    axes.plot(places, middle, color=COLOURS[order], marker="o", markersize=3.5, label=order)


def _draw_critical(axes: Axes, order: str, logs: Sequence[float], height: float) -> None:
    """Mark the critical share of an order, its interval and its seeds, at a height of its own."""
    if not logs:
        return
    shares, colour = [math.exp(log) for log in logs], COLOURS[order]
    axes.plot(shares, [height] * len(shares), "|", color=colour, markersize=6, alpha=0.6)
    if (interval := t_interval(logs)) is not None:
        ends = [min(1.0, math.exp(end)) for end in interval]
        axes.plot(ends, [height, height], color=colour, linewidth=1.6)
    axes.plot(
        [math.exp(sum(logs) / len(logs))], [height], "D", color=colour, markersize=5.5,
        markeredgecolor="white", label=f"x* of {order}",
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(values, _LEAST)))))


def _logs(seeds: Mapping[int, tuple[Tried, float]]) -> list[float]:
    logs = [critical_share(tried, margin).log for tried, margin in seeds.values()]
    return [log for log in logs if log is not None]


def _table(found: _Found) -> Table:
    return Table(
        columns=["order", "seeds", "critical share x*", "95 % interval", "censored"],
        rows=[_row(order, seeds) for order, seeds in found.items()],
        caption=(
            "The smallest share with which one goes downhill, found to a factor of 1.5: geometric "
            "means over seeds. Censored: seeds in which not even everything suffices."
        ),
        numeric=frozenset({"seeds", "critical share x*", "95 % interval", "censored"}),
    )


def _row(order: str, seeds: Mapping[int, tuple[Tried, float]]) -> Row:
    logs = _logs(seeds)
    interval = t_interval(logs)
    return Row(
        [
            order,
            str(len(seeds)),
            percent(math.exp(sum(logs) / len(logs))) if logs else NONE,
            " to ".join(percent(math.exp(end)) for end in interval) if interval else NONE,
            str(len(seeds) - len(logs)),
        ]
    )
