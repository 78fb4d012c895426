"""One point of a curve as named weights, with gradients to the control points, in few passes.

With ResNet-50 a vector of weights is 102 MB, and a step that forms new ones for every product and
sum spends more time on memory than on arithmetic. Here intermediate results stay in the cache and
what is as large as the network is allocated once. The numbers are those of
`PathModule.weights_at` and of autograd, with one inner point to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_sparse.paths.layout import WeightLayout

# Four pieces of this size, in single precision, fit into the second cache of one core.
_ELEMENTS_IN_CACHE = 2**17


class CurvePoint:
    """Computes points of one curve; owns the memory that every step needs again.

    Only the last point can be differentiated: the next one takes its memory.

    Args:
        layout: Where each parameter lies in the vector.
        ends: Both ends of the curve: shape (2, num_weights).
        decayed: 1.0 where the squared norm counts, else 0.0: shape (num_weights).
    """

    def __init__(self, layout: WeightLayout, ends: Tensor, decayed: Tensor) -> None:
        self.views = layout.views()
        self.decayed_vector = torch.empty_like(decayed)
        self.vector = torch.empty_like(decayed)
        self.piece_size = _ELEMENTS_IN_CACHE if decayed.device.type == "cpu" else decayed.numel()
        self.scratch = decayed.new_empty(min(self.piece_size, decayed.numel()))
        self._constants = [self.pieces(tensor) for tensor in (*ends, decayed)]

    def __call__(
        self, control_points: Tensor, basis: Sequence[float]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the weights by name, and the squared norm of the decayed ones.

        Args:
            control_points: The inner ones: shape (degree - 1, num_weights).
            basis: Weight of every control point, the ends among them, in single precision.
        """
        squared_norm, *weights = _Point.apply(control_points, self, basis)
        return dict(zip(self.views, weights, strict=True)), squared_norm

    def pieces(self, vector: Tensor) -> Sequence[Tensor]:
        """Cut a vector into pieces that fit into the cache."""
        pieces: Sequence[Tensor] = vector.split(self.piece_size)
        return pieces

    def compute(self, control_points: Tensor, basis: Sequence[float]) -> None:
        """Fill ``vector`` and ``decayed_vector``."""
        inner = [self.pieces(point) for point in control_points]
        first, *others = basis[1:-1]
        for start, end, decayed, vector, decayed_vector, *points in zip(
            *self._constants,
            self.pieces(self.vector),
            self.pieces(self.decayed_vector),
            *inner,
            strict=True,
        ):
            scratch = self.scratch[: len(vector)]
            torch.mul(start, basis[0], out=vector)
            vector.add_(torch.mul(end, basis[-1], out=scratch))
            torch.mul(points[0], first, out=scratch)
            for point, weight in zip(points[1:], others, strict=True):
                scratch.add_(point, alpha=weight)
            vector.add_(scratch)
            torch.mul(vector, decayed, out=decayed_vector)


class _Point(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, control_points: Tensor, point: CurvePoint, basis: Sequence[float]
    ) -> tuple[Tensor, ...]:
        point.compute(control_points, basis)
        ctx.save_for_backward(point.decayed_vector)
        ctx.point, ctx.basis, ctx.shape = point, basis, control_points.shape
        ctx.set_materialize_grads(False)
        weights = [point.vector.as_strided(*view) for view in point.views.values()]
        return torch.dot(point.decayed_vector, point.vector), *weights

    @staticmethod
    def backward(
        ctx: Any, norm_gradient: Tensor | None, *gradients: Tensor | None
    ) -> tuple[Tensor, None, None]:
        point: CurvePoint = ctx.point
        (decayed_vector,) = ctx.saved_tensors
        result = decayed_vector.new_empty(ctx.shape)
        # The first row holds the gradient of the vector until it has become its own.
        for view, gradient in zip(point.views.values(), gradients, strict=True):
            place = result[0].as_strided(view[0], view[1], view[2])
            if gradient is None:
                place.zero_()
            else:
                place.copy_(gradient)
        twice = None if norm_gradient is None else 2 * norm_gradient
        first, *others = ctx.basis[1:-1]
        for decayed, row, *rows in zip(
            point.pieces(decayed_vector), *(point.pieces(row) for row in result), strict=True
        ):
            if twice is not None:
                row.add_(torch.mul(decayed, twice, out=point.scratch[: len(row)]))
            for other, weight in zip(rows, others, strict=True):
                torch.mul(row, weight, out=other)
            row.mul_(first)
        return result, None, None
