"""How the eigenvalues of the curvature are spread along the sparse curve, drawn and listed."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from lightning_sparse.analysis.spectra import (
    KINDS,
    PLACES,
    ROUTES,
    at_places,
    density,
    extremes,
    mean_eigenvalue,
    negative_share,
)
from lightning_sparse.points import parse_point
from lightning_sparse.records import Spectrum
from lightning_sparse.report.blocks import Block, Paragraph, Picture, Row, Table
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import NONE, number, percent

_WORDS = {
    "hessian": "Hessian, all weights",
    "hessian_inside": "Hessian, in the mask",
    "gauss_newton": "Gauss-Newton, all weights",
    "gauss_newton_inside": "Gauss-Newton, in the mask",
}
_PANELS = ("hessian_inside", "hessian", "gauss_newton_inside", "gauss_newton")
_RELATIVE_WIDTH = 0.01  # of the Gaussian, in the range of eigenvalues seen
_NUM_POINTS = 401
_LEAST = 1e-5  # of the highest density that is drawn: one eigenvalue of many is as low
_DASHES = dict(zip(PLACES, ("-", ":", "--"), strict=True))

_Found = Mapping[str, Mapping[str, Sequence[Spectrum]]]
"""By kind of matrix and by place, one of each seed."""


def spectra_blocks(findings: Findings) -> list[Block]:
    """Draw and list what is known of the spectra; a note where none was estimated."""
    found: _Found = {kind: _by_place(findings, kind) for kind in KINDS}
    if not any(spectra for places in found.values() for spectra in places.values()):
        return [Paragraph("No spectrum has been estimated yet.", "note")]
    return [_picture(findings, found), _table(found)]


def _by_place(findings: Findings, kind: str) -> dict[str, list[Spectrum]]:
    (route,) = (one for one in ROUTES if one.spectrum == kind)
    known = [at_places(path) for path in findings.along(route)]
    return {place: [one[place] for one in known if place in one] for place in PLACES}


def _picture(findings: Findings, found: _Found) -> Picture:
    start, end = (
        findings.looks.colour(parse_point(point).run) for point in (ROUTES[0].start, ROUTES[0].end)
    )
    colours = dict(zip(PLACES, (start, "#222222", end), strict=True))
    with drawing(7.4, 5.6) as figure:
        panels = figure.subplots(2, 2)
        for axes, kind in zip(panels.flat, _PANELS, strict=True):
            axes.set_title(_WORDS[kind], fontsize="medium", loc="left")
            _draw(axes, found[kind], colours)
        for axes in panels[:, 0]:
            axes.set_ylabel("density")
        for axes in panels[1]:
            axes.set_xlabel("eigenvalue [nats]")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        return picture(figure, "spectra", _CAPTION)


_CAPTION = (
    "Spectral densities of the mean training loss's second derivatives in the prunable weights, at "
    "both ends of the quadratic curve inside the mask and at its highest point, in the state of "
    "batch norm in which the loss was measured there. Stochastic Lanczos, smoothed by a Gaussian "
    "of one hundredth of the range; bands: one standard error over random directions, all seeds "
    "together. The density axes are logarithmic. Compare points, not spaces: the Hessian in the "
    "mask is a part of the whole one, whose smallest eigenvalue cannot lie above it."
)


def _draw(axes: Axes, places: Mapping[str, Sequence[Spectrum]], colours: Mapping[str, str]) -> None:
    ends = [end for spectra in places.values() for one in spectra for end in extremes(one)]
    if not ends:
        return
    width = _RELATIVE_WIDTH * max(max(ends) - min(ends), np.finfo(float).tiny)
    grid = np.linspace(min(ends) - 4 * width, max(ends) + 4 * width, _NUM_POINTS)
    highest = 0.0
    for place, spectra in places.items():
        if spectra:
            smoothed = density(spectra, grid, width)
            low = smoothed.density - smoothed.standard_error
            axes.fill_between(
                grid, np.maximum(low, 0), smoothed.density + smoothed.standard_error,
                color=colours[place], alpha=0.2, linewidth=0,
            )  # fmt: skip
            axes.plot(
                grid, smoothed.density, color=colours[place], linewidth=1.1, label=place,
                linestyle=_DASHES[place],
            )  # fmt: skip
            highest = max(highest, float(smoothed.density.max()))
    axes.set_yscale("log")
    axes.set_ylim(_LEAST * highest, 2 * highest)


def _table(found: _Found) -> Table:
    numbers = ["seeds", "coordinates", "smallest", "largest", "mean eigenvalue", "negative"]
    return Table(
        columns=["matrix", "at", *numbers],
        rows=[
            _row(kind, place, found[kind][place])
            for kind in _PANELS
            for place in PLACES
            if found[kind][place]
        ],
        caption=(
            "Not judged. Smallest and largest: the outermost eigenvalues that Lanczos saw, means "
            "over seeds; the true ones lie there or further out. Mean eigenvalue: the trace over "
            "the number of coordinates, with its standard error over seeds. Negative: of the sum "
            "of the eigenvalues' sizes, the share of negative ones."
        ),
        numeric=frozenset(numbers),
    )


def _row(kind: str, place: str, spectra: Sequence[Spectrum]) -> Row:
    ends = [extremes(one) for one in spectra]
    means = [mean_eigenvalue(one) for one in spectra]
    error = np.std(means, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else None
    return Row(
        [
            _WORDS[kind],
            place,
            str(len(spectra)),
            f"{np.mean([one.num_coordinates for one in spectra]):,.0f}",
            number(float(np.mean([low for low, _ in ends]))),
            number(float(np.mean([high for _, high in ends]))),
            number(float(np.mean(means))) + ("" if error is None else f" ± {number(float(error))}"),
            percent(float(np.mean([negative_share(one) for one in spectra]))) or NONE,
        ]
    )
