"""Points and lengths of curves in weight space: pure functions of control points.

The control points of a curve are stacked in one tensor of shape (num_points, num_weights); the
first and the last are its ends.
"""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lightning_sparse.paths.curves import AbstractCurve


def point_on_curve(
    curve: AbstractCurve, control_points: Float[Tensor, "points weights"], t: float
) -> Float[Tensor, " weights"]:
    """Return the point at ``t``; the ends come out bit for bit at t = 0 and t = 1.

    Example:
        >>> from lightning_sparse.paths.curves import Bezier
        >>> point_on_curve(Bezier(2), torch.tensor([[0.0], [2.0], [0.0]]), 0.5).tolist()
        [1.0]
    """
    # Not waiting for what a device has still to do: so few numbers are copied at once.
    basis = torch.tensor(curve.basis(t), dtype=torch.float64).to(control_points, non_blocking=True)
    return einsum(basis, control_points, "points, points weights -> weights")


def on_straight_line(
    curve: AbstractCurve, start: Float[Tensor, " weights"], end: Float[Tensor, " weights"]
) -> Float[Tensor, "points weights"]:
    """Spread the control points of a curve over the straight line from start to end.

    Example:
        >>> from lightning_sparse.paths.curves import Bezier
        >>> on_straight_line(Bezier(2), torch.zeros(1), torch.ones(1)).squeeze().tolist()
        [0.0, 0.5, 1.0]
    """
    inner = [torch.lerp(start, end, place) for place in curve.places[1:-1]]
    return torch.stack([start, *inner, end])


def curve_length(curve: AbstractCurve, control_points: Float[Tensor, "points weights"]) -> float:
    """Length of the curve over t in [0, 1].

    Example:
        >>> from lightning_sparse.paths.curves import Line
        >>> round(curve_length(Line(), torch.tensor([[0.0, 0.0], [3.0, 4.0]])), 9)
        5.0
    """
    differences = control_points.double().diff(dim=0)
    return curve.length((differences @ differences.T).tolist())
