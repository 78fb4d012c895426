"""Rays down the gradient at the scratch and the pruned solution: which, and how far they fall.

PROTOCOL.md, section 11, G.
"""

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.records import PathRecord

POINTS = ("scratch:end", "prune:end")

ROUTES = tuple(Route(point, point, ray=ray) for point in POINTS for ray in ("outside", "inside"))
"""In the order of the rule: off and in at S, off and in at P."""

BESIDE = tuple(Route(point, point, ray="outside_random") for point in POINTS)
"""As many coordinates outside the mask as it has inside: shown, not judged."""

LEAST = 1e-6
"""Smallest decrease that single precision resolves, in nats."""


def decrease(ray: PathRecord, quantity: Quantity = "loss") -> float:
    """Return by how much it falls at most along a ray, in nats."""
    values = [getattr(point.train, quantity) for point in ray.points if 0 <= point.t <= 1]
    return float(values[0] - min(values))
