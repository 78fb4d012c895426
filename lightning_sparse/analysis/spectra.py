"""How the eigenvalues of the curvature are spread along the sparse curve: shown, not judged.

PROTOCOL.md, section 11, G. The Hessian inside a mask is a principal submatrix of the whole one,
whose smallest eigenvalue cannot lie above the submatrix's (Cauchy): compare points, not spaces.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from lightning_sparse.analysis.experiment import QUADRATIC, Route
from lightning_sparse.paths.settings import SpectrumKind
from lightning_sparse.records import PathRecord, Spectrum

Vector = NDArray[np.float64]

KINDS: tuple[SpectrumKind, ...] = get_args(SpectrumKind)

ROUTES = tuple(
    Route("scratch:end", "prune:end", QUADRATIC, "sparse", spectrum=kind) for kind in KINDS
)

PLACES = ("scratch:end", "highest point", "prune:end")


def at_places(record: PathRecord) -> dict[str, Spectrum]:
    """Return the spectra of a curve by where they are; its highest point may be an end."""
    found = {spectrum.t: spectrum for spectrum in record.spectra or ()}
    between = [spectrum for t, spectrum in found.items() if 0 < t < 1]
    ends = {PLACES[0]: found[0.0], PLACES[2]: found[1.0]}
    return {**ends, PLACES[1]: between[0]} if between else ends


@dataclass(frozen=True, kw_only=True)
class SpectralDensity:
    """How eigenvalues are spread, smoothed by a Gaussian.

    Attributes:
        density: On a grid: the mean over probes, of all seeds alike; it integrates to 1.
        standard_error: Of that mean over probes.
    """

    density: Vector
    standard_error: Vector


def density(spectra: Sequence[Spectrum], grid: Vector, width: float) -> SpectralDensity:
    """Smooth the eigenvalues of one or several matrices.

    Args:
        spectra: Of one seed each, with at least two probes in all.
        grid: Eigenvalues at which it is asked for.
        width: Standard deviation of the Gaussian.
    """
    curves = np.stack(
        [
            _smoothed(grid, np.array(nodes), np.array(weights), width)
            for spectrum in spectra
            for nodes, weights in zip(spectrum.nodes, spectrum.weights, strict=True)
        ]
    )
    return SpectralDensity(
        density=curves.mean(axis=0),
        standard_error=curves.std(axis=0, ddof=1) / math.sqrt(len(curves)),
    )


def _smoothed(grid: Vector, nodes: Vector, weights: Vector, width: float) -> Vector:
    heights = np.exp(-0.5 * ((grid[:, None] - nodes[None, :]) / width) ** 2)
    smoothed: Vector = heights @ weights / (width * math.sqrt(2 * math.pi))
    return smoothed


def extremes(spectrum: Spectrum) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue seen: Lanczos finds the outermost first.

    The true ones lie at these or further out.
    """
    nodes = [node for probe in spectrum.nodes for node in probe]
    return min(nodes), max(nodes)


def mean_eigenvalue(spectrum: Spectrum) -> float:
    """Return the estimated mean of all eigenvalues: the trace over the number of coordinates."""
    return _mean_of(spectrum, lambda node: node)


def negative_share(spectrum: Spectrum) -> float:
    """Return which share of the sum of the eigenvalues' sizes is of negative ones, in [0, 1].

    Not their number, most of which are next to zero on either side.
    """
    size = _mean_of(spectrum, abs)
    below = _mean_of(spectrum, lambda node: max(-node, 0.0))
    return below / size if size else 0.0


def _mean_of(spectrum: Spectrum, function: Callable[[float], float]) -> float:
    pairs = zip(spectrum.nodes, spectrum.weights, strict=True)
    return float(
        np.mean(
            [
                math.fsum(w * function(n) for n, w in zip(nodes, weights, strict=True))
                for nodes, weights in pairs
            ]
        )
    )
