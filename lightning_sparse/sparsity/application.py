"""Masks at work on the parameters of one network: zero stays exactly zero, as cheaply as can be."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_sparse.sparsity.masks import Masks, Weights, kept_and_prunable


class MaskApplication:
    """Keeps weights, gradients and the optimizer's state of masked entries at exactly zero.

    The cheapest way that is exact: the gradient is masked before every update. Where the optimizer
    treats every entry by itself, as SGD and Adam do, a weight whose state is zero then stays zero
    (weight decay adds a multiple of the weight), so weights and state need masking only when the
    masks change and after loading. Where it does not, `leaks` says so, and the weights are masked
    after every step.

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
    def mask_all_(self, optimizer: Optimizer, *, keeps_state: bool = False) -> None:
        """Zero what is masked in weights, gradients and, unless it is kept, optimizer state."""
        pairs = []
        for weight, factor in self._factors:
            state = () if keeps_state else state_of(optimizer, weight)
            tensors = (weight, weight.grad, *state)
            pairs += [(tensor, factor) for tensor in tensors if tensor is not None]
        _multiply_(pairs)

    @torch.no_grad()
    def mask_gradients_(self) -> None:
        """Zero what is masked in the gradients alone: all that a step needs."""
        _multiply_([(w.grad, factor) for w, factor in self._factors if w.grad is not None])

    @torch.no_grad()
    def mask_weights_(self) -> None:
        """Zero what is masked in the weights alone, after a step that moved it."""
        _multiply_(self._factors)

    @torch.no_grad()
    def leaks(self) -> bool:
        """Whether a masked weight is not zero; an accelerator is waited for."""
        found = [((weight != 0) & (factor == 0)).any() for weight, factor in self._factors]
        return bool(found) and bool(torch.stack(found).any())


def state_of(optimizer: Optimizer, weight: Tensor) -> Iterator[Tensor]:
    """Yield what the optimizer keeps per entry of a weight: momentum, moments, whatever it is.

    Codes of quantised state, which are no floating-point numbers, are left alone: their zero does
    not mean zero.
    """
    for value in optimizer.state.get(weight, {}).values():
        if isinstance(value, Tensor) and value.shape == weight.shape and value.is_floating_point():
            yield value


@torch.no_grad()
def reset_state_(optimizer: Optimizer, weights: Weights, where: Masks) -> None:
    """Zero what the optimizer keeps of the entries that are True in ``where``."""
    for name, mask in where.items():
        for tensor in state_of(optimizer, weights[name]):
            tensor.masked_fill_(mask, 0)


def _multiply_(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Multiply the first of each pair by the second, on an accelerator in few launches."""
    if pairs:
        tensors, factors = zip(*pairs, strict=True)
        torch._foreach_mul_(tensors, factors)
