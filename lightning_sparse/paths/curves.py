"""Geometry of Bezier curves: pure functions of control points; no networks, no Lightning.

A curve of degree n has n + 1 control points, stacked in one tensor of shape (n + 1, num_weights);
the first and the last are its ends. Degree 1 is the straight line.
"""

import math

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor


def bernstein_basis(t: float, degree: int) -> Float[Tensor, " points"]:
    """Weights of the ``degree + 1`` control points at ``t``, in double precision.

    The k-th entry is ``comb(n, k) t^k (1 - t)^(n - k)``. The entries sum to 1 for every t, and are
    non-negative for t in [0, 1]; outside they extrapolate.

    Raises:
        ValueError: If ``degree`` is below 1.

    Example:
        >>> bernstein_basis(0.5, 2).tolist()
        [0.25, 0.5, 0.25]
        >>> bernstein_basis(0.0, 3).tolist()
        [1.0, 0.0, 0.0, 0.0]
    """
    if degree < 1:
        raise ValueError(f"degree={degree}: a curve has degree 1 or more")
    return torch.tensor(
        [math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)],
        dtype=torch.float64,
    )


def point_on_curve(
    control_points: Float[Tensor, "points weights"], t: float
) -> Float[Tensor, " weights"]:
    """Return the point at ``t``; the ends come out bit for bit at t = 0 and t = 1.

    Example:
        >>> point_on_curve(torch.tensor([[0.0], [2.0], [0.0]]), 0.5).tolist()
        [1.0]
    """
    # Not waiting for what a device has still to do: so few numbers are copied at once.
    basis = bernstein_basis(t, len(control_points) - 1).to(control_points, non_blocking=True)
    return einsum(basis, control_points, "points, points weights -> weights")


def straight_line(
    start: Float[Tensor, " weights"], end: Float[Tensor, " weights"], degree: int
) -> Float[Tensor, "points weights"]:
    """Spread ``degree + 1`` control points evenly over the straight line from start to end.

    The curve then is the line itself, with constant speed: degree raising of the line.

    Example:
        >>> straight_line(torch.zeros(1), torch.ones(1), 2).squeeze().tolist()
        [0.0, 0.5, 1.0]
    """
    inner = [torch.lerp(start, end, k / degree) for k in range(1, degree)]
    return torch.stack([start, *inner, end])


def curve_length(
    control_points: Float[Tensor, "points weights"], num_intervals: int = 1000
) -> float:
    """Length of the curve over t in [0, 1], by Simpson's rule on its speed.

    The squared speed is a quadratic form in the differences of neighbouring control points, so the
    weights are touched once, whatever ``num_intervals`` (even) is.

    Example:
        >>> round(curve_length(torch.tensor([[0.0, 0.0], [3.0, 4.0]])), 9)
        5.0
    """
    degree = len(control_points) - 1
    differences = degree * control_points.double().diff(dim=0)
    gram = differences @ differences.T
    ts = [i / num_intervals for i in range(num_intervals + 1)]
    if degree == 1:
        return math.sqrt(float(gram))
    basis = torch.stack([bernstein_basis(t, degree - 1) for t in ts]).to(gram)
    speeds = einsum(basis, gram, basis, "t i, i j, t j -> t").clamp_min(0).sqrt()
    simpson = torch.full((len(ts),), 2.0, dtype=speeds.dtype, device=speeds.device)
    simpson[1::2] = 4.0
    simpson[0] = simpson[-1] = 1.0
    return float((simpson * speeds).sum() / (3 * num_intervals))
