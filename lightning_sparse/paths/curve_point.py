"""One point of a curve as named weights, with gradients to the control points, in few passes.

With ResNet-50 a vector of weights is 102 MB, and a step that forms new ones for every product and
sum spends more time on memory than on arithmetic. Here intermediate results stay in the cache and
what is as large as the network is allocated once. The numbers are those of
control points that are added up one after another, and of autograd, to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_sparse.paths.layout import WeightLayout

# Four pieces of this size, in single precision, fit into the second cache of one core.
_ELEMENTS_IN_CACHE = 2**17
# From here on NumPy asks for huge pages.
_LARGE_IN_BYTES = 2**22


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A stretch of all vectors that fits into the cache; ``decayed`` is the part that decays."""

    start: Tensor
    end: Tensor
    vector: Tensor
    decayed: Tensor
    subspace: Tensor | None
    scratch: Tensor
    decayed_scratch: Tensor


class CurvePoint:
    """Computes points of one curve; owns the memory that every step needs again.

    Only the last point can be differentiated: the next one takes its memory.

    Args:
        layout: Where each parameter lies in the vector.
        ends: Both ends of the curve: shape (2, num_weights).
        subspace: 1.0 where control points may move, else 0.0: shape (num_weights); None where all
            may. Gradients are zero outside.
        weight_decay: Twice the factor of the squared norm in the penalty, at least 0.
    """

    def __init__(
        self, layout: WeightLayout, ends: Tensor, subspace: Tensor | None, weight_decay: float
    ) -> None:
        self.weight_decay = weight_decay
        self.views = layout.views()
        self.vector = torch.empty_like(ends[0])
        self.decayed = self.vector[: layout.num_decayed]
        length = layout.num_weights
        self.piece_size = _ELEMENTS_IN_CACHE if ends.device.type == "cpu" else length
        scratch = ends.new_empty(min(self.piece_size, length))
        self.pieces = []
        for offset in range(0, length, self.piece_size):
            size = min(self.piece_size, length - offset)
            here = slice(offset, offset + size)
            num_decayed = min(max(layout.num_decayed - offset, 0), size)
            self.pieces.append(
                _Piece(
                    start=ends[0, here],
                    end=ends[1, here],
                    vector=self.vector[here],
                    decayed=self.vector[offset : offset + num_decayed],
                    subspace=None if subspace is None else subspace[here],
                    scratch=scratch[:size],
                    decayed_scratch=scratch[:num_decayed],
                )
            )
        self._sizes = [shape.numel() for shape, _, _ in self.views.values()]
        # All but vectors, by number: how their dimensions follow each other in the vector.
        self._orders = {
            number: sorted(range(len(shape)), key=strides.__getitem__, reverse=True)
            for number, (shape, strides, _) in enumerate(self.views.values())
            if len(shape) != 1
        }

    def __call__(
        self, control_points: Tensor, basis: Sequence[float]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the weights by name, and the penalty: half lambda times the squared norm.

        Args:
            control_points: The inner ones: shape (num_points - 2, num_weights).
            basis: Weight of every control point, shape (num_points,): the ends' first and last.
        """
        penalty, *weights = _Point.apply(control_points, self, basis)
        return dict(zip(self.views, weights, strict=True)), penalty

    def compute(self, control_points: Tensor, basis: Sequence[float]) -> None:
        """Fill ``vector``."""
        of_start, of_first, *of_others, of_end = basis
        for own, (first, *others) in zip(self.pieces, self.cut(control_points), strict=True):
            torch.mul(own.start, of_start, out=own.vector)
            own.vector.add_(torch.mul(own.end, of_end, out=own.scratch))
            torch.mul(first, of_first, out=own.scratch)
            for point, weight in zip(others, of_others, strict=True):
                own.scratch.add_(point, alpha=weight)
            own.vector.add_(own.scratch)

    def cut(self, rows: Tensor) -> list[Sequence[Tensor]]:
        """Cut a matrix into pieces that fit into the cache, and each piece into its rows."""
        if len(self.pieces) == 1:
            return [rows.unbind()]
        return [piece.unbind() for piece in rows.split(self.piece_size, dim=1)]

    def weights(self) -> list[Tensor]:
        """Cut ``vector`` into views of the shapes of the parameters."""
        weights = list(self.vector.split_with_sizes(self._sizes))
        views = [*self.views.values()]
        for number in self._orders:
            weights[number] = self.vector.as_strided(*views[number])
        return weights

    def flatten(self, gradients: Sequence[Tensor | None], out: Tensor) -> None:
        """Join gradients of the weights into one vector; None is zero."""
        flat = [
            out.new_zeros(size) if gradient is None else gradient
            for gradient, size in zip(gradients, self._sizes, strict=True)
        ]
        for number, order in self._orders.items():
            if gradients[number] is not None:
                flat[number] = flat[number].permute(order).reshape(-1)
        torch.cat(flat, out=out)


def _new_memory(shape: torch.Size, like: Tensor) -> Tensor:
    """Return a tensor that is to be written, in few pages if it is large and on the CPU.

    NumPy asks the kernel for huge pages. In those of 4 kB, writing to 102 MB of new memory for the
    first time, and giving it back, takes four times as long as the arithmetic that is done there.
    """
    is_large = shape.numel() * like.element_size() >= _LARGE_IN_BYTES
    if is_large and like.device.type == "cpu" and like.dtype == torch.float32:
        return torch.from_numpy(np.empty(shape, np.float32))
    return like.new_empty(shape)


class _Point(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, control_points: Tensor, point: CurvePoint, basis: Sequence[float]
    ) -> tuple[Tensor, ...]:
        point.compute(control_points, basis)
        ctx.save_for_backward(point.vector)
        ctx.point, ctx.basis, ctx.shape = point, basis, control_points.shape
        ctx.set_materialize_grads(False)
        squared_norm = torch.dot(point.decayed, point.decayed)
        return 0.5 * point.weight_decay * squared_norm, *point.weights()

    @staticmethod
    def backward(
        ctx: Any, penalty_gradient: Tensor | None, *gradients: Tensor | None
    ) -> tuple[Tensor, None, None]:
        point: CurvePoint = ctx.point
        (saved,) = ctx.saved_tensors  # refuses if the next point has taken its memory
        result = _new_memory(ctx.shape, saved)
        pieces = point.cut(result)
        # The first row holds the gradient of the vector until it has become its own.
        point.flatten(gradients, out=pieces[0][0] if len(pieces) == 1 else result[0])
        factor = None if penalty_gradient is None else point.weight_decay * penalty_gradient
        _, of_first, *of_others, _ = ctx.basis
        for own, (first, *others) in zip(point.pieces, pieces, strict=True):
            if factor is not None:
                decayed = torch.mul(own.decayed, factor, out=own.decayed_scratch)
                first[: len(decayed)].add_(decayed)
            if own.subspace is not None:
                first.mul_(own.subspace)
            for other, weight in zip(others, of_others, strict=True):
                torch.mul(first, weight, out=other)
            first.mul_(of_first)
        return result, None, None
