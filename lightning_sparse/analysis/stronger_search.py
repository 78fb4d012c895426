"""Curves of more points inside the mask: how B is asked with a stronger search, and what R costs.

PROTOCOL.md, section 11, B+ and the controls of F.
"""

from collections.abc import Sequence

from lightning_sparse.analysis.critical_share import SEARCHES
from lightning_sparse.analysis.experiment import CUBIC, QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.measured_descents import MeasuredDescent
from lightning_sparse.records import curve_of_degree

_ENDS = ("scratch:end", "prune:end")
_RESTARTS = (None, 1, 2)

CHAINS = tuple(f"polygonal chain with {bends} bends re-inserted {bends} times" for bends in (5, 9))
CURVES = (QUADRATIC, CUBIC, curve_of_degree(5), *CHAINS)
LINE = Route(*_ENDS)
SEARCHED = tuple(
    Route(*_ENDS, curve, "sparse", search=search) for curve in CURVES for search in _RESTARTS
)
"""What is searched at each number of steps, beside the line."""

QUADRATICS = tuple(route for route in SEARCHED if route.curve == QUADRATIC)
"""The weakest of these."""

COUNTED_BY = "laboratory.num_seeds_of_search"
"""How many of the first seeds are searched like this."""

DEGREES = (3, 4, 5)
OF_DEGREES = tuple(
    Route(*_ENDS, curve_of_degree(degree), "sparse", search=search)
    for degree in DEGREES
    for search in SEARCHES
)
"""Curves inside the mask with as many coordinates as a quadratic one has with some freed."""


def with_steps(times: Sequence[int]) -> list[Route]:
    """Return all that is searched, with the experiment's own steps and with multiples of them."""
    return [LINE, *(route._replace(times=each) for each in (1, *times) for route in SEARCHED)]


def strongest_first(times: Sequence[int]) -> list[list[Route]]:
    """Return what is searched, restarts of one curve and number of steps together.

    A seed is lost by the first that leads down and is not searched on, so those that are likely to
    come first: most steps, then most coordinates.
    """
    return [
        [route._replace(times=each) for route in SEARCHED if route.curve == curve]
        for each in sorted({1, *times}, reverse=True)
        for curve in reversed(CURVES)
    ]


def times_in(experiment: ExperimentRecords, sparsity: float) -> list[int]:
    """Return the multiples of the steps that chains were fitted with anywhere, beyond once."""
    return sorted(
        {
            path.steps_multiplier
            for path in experiment.paths
            if path.curve in CHAINS
            and path.target_sparsity == sparsity
            and path.steps_multiplier is not None
        }
    )


def leads_down(path: MeasuredDescent) -> bool:
    """Tell whether one path is enough to lose its seed."""
    return path.is_descent is True


def seeds_searched(experiment: ExperimentRecords) -> list[int]:
    """Return the seeds that have a chain, hence were chosen to be searched."""
    return sorted({path.seed for path in experiment.paths if path.curve in CHAINS})
