"""Masks at work on the parameters of one network: zero stays exactly zero, as cheaply as can be."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_sparse.sparsity.masks import Masks, kept_and_prunable


class MaskApplication:
    """Keeps weights, gradients and momentum of masked entries at exactly zero.

    The cheapest way that is exact: the gradient is masked before every update. A weight and a
    momentum that are zero then stay zero (weight decay adds a multiple of the weight), so these two
    need masking only when the masks change and after loading.

    Args:
        weights: The prunable parameters.
        masks: Their masks, by the same names.
    """

    def __init__(self, weights: Mapping[str, Tensor], masks: Masks) -> None:
        kept, prunable = kept_and_prunable(masks)
        # Multiplying by a float image of the mask, in the weight's own memory format, is several
        # times faster than multiplying by the mask itself.
        self._factors = [
            (weight, torch.empty_like(weight, requires_grad=False).copy_(masks[name]))
            for name, weight in weights.items()
            if kept < prunable
        ]

    @torch.no_grad()
    def mask_all_(self, optimizer: Optimizer) -> None:
        """Zero what is masked in weights, gradients and momentum."""
        pairs = []
        for weight, factor in self._factors:
            state: Mapping[str, Any] = optimizer.state.get(weight, {})
            tensors = (weight, weight.grad, state.get("momentum_buffer"))
            pairs += [(tensor, factor) for tensor in tensors if tensor is not None]
        _multiply_(pairs)

    @torch.no_grad()
    def mask_gradients_(self) -> None:
        """Zero what is masked in the gradients alone: all that a step needs."""
        _multiply_([(w.grad, factor) for w, factor in self._factors if w.grad is not None])


def _multiply_(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Multiply the first of each pair by the second, on an accelerator in few launches."""
    if pairs:
        tensors, factors = zip(*pairs, strict=True)
        torch._foreach_mul_(tensors, factors)
