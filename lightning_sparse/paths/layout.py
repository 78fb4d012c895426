"""All parameters of a network as one vector, so that a curve is arithmetic on vectors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import LayerSparsity
from lightning_sparse.sparsity.masks import Masks, check_masks_fit

_ROW_MAJOR: dict[str, Any] = {"device": "meta", "memory_format": torch.contiguous_format}


class WeightLayout:
    """Where each parameter of a network lies in one flat vector.

    Convolution and linear weights, which alone decay, come first, so that they are one slice.
    Convolution weights are laid out channels-last if the network's are: the views handed back then
    have the memory format that the network was trained in, at no cost.

    Args:
        network: Gives names, shapes and memory formats; its values are not read.

    Attributes:
        num_weights: Length of the vector.
        num_decayed: How many of its first entries the L2 term acts on.

    Raises:
        UserError: If the parameters are of several dtypes, which one vector cannot be.
    """

    def __init__(self, network: nn.Module) -> None:
        _check_one_dtype(network)
        prunable = prunable_weights(network)
        parameters = {**prunable, **dict(network.named_parameters())}
        self._shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self._channels_last = {
            name
            for name, parameter in parameters.items()
            if parameter.dim() == len("oihw")
            and parameter.is_contiguous(memory_format=torch.channels_last)
            # With one input channel a weight is contiguous in both formats; kernels go by strides.
            and parameter.stride() != torch.empty_like(parameter, **_ROW_MAJOR).stride()
        }
        self._prunable = {
            name: torch.empty_like(weight, device="meta") for name, weight in prunable.items()
        }
        self.num_weights = sum(self._sizes)
        self.num_decayed = sum(weight.numel() for weight in prunable.values())

    def flatten(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Join the parameters into one vector; other entries of ``weights`` are left out.

        Raises:
            UserError: If a parameter is missing or has another shape: another architecture.
        """
        for name, shape in self._shapes.items():
            if name not in weights:
                raise UserError(f"the end point has no parameter {name!r}: another architecture")
            if weights[name].shape != shape:
                raise UserError(
                    f"parameter {name!r} of the end point has shape {tuple(weights[name].shape)}, "
                    f"the network's has {tuple(shape)}; both ends must be of one architecture"
                )
        return torch.cat([self._reorder(name, weights[name]).flatten() for name in self._shapes])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Cut a vector into named views with the shapes of the parameters."""
        pieces = vector.split(self._sizes)
        return {
            name: self._restore(name, piece)
            for name, piece in zip(self._shapes, pieces, strict=True)
        }

    def views(self) -> dict[str, tuple[torch.Size, tuple[int, ...], int]]:
        """Return shape, strides and offset of every parameter in a vector, for ``as_strided``."""
        pieces = self.unflatten(torch.empty(self.num_weights, device="meta"))
        return {
            name: (piece.shape, piece.stride(), int(piece.storage_offset()))
            for name, piece in pieces.items()
        }

    def subspace(self, masks: Masks) -> Tensor:
        """1.0 where a coordinate may move: kept weights and everything that is never pruned.

        Raises:
            UserError: If the masks are those of another architecture.
        """
        check_masks_fit(masks, self._prunable)
        ones = {name: torch.ones(shape) for name, shape in self._shapes.items()}
        return self.flatten({**ones, **{name: mask.float() for name, mask in masks.items()}})

    def prunable_counts(self, chosen: Tensor) -> dict[str, LayerSparsity]:
        """Count the prunable weights that a Boolean vector chooses, layer by layer."""
        pieces = self.unflatten(chosen)
        return {
            name: LayerSparsity(
                kept=int(pieces[name].count_nonzero()), prunable=pieces[name].numel()
            )
            for name in self._prunable
        }

    def _reorder(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.permute(0, 2, 3, 1) if name in self._channels_last else tensor

    def _restore(self, name: str, piece: Tensor) -> Tensor:
        shape = self._shapes[name]
        if name not in self._channels_last:
            return piece.view(shape)
        return piece.view(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)


def both_ends(
    layout: WeightLayout, start: Mapping[str, Tensor], end: Mapping[str, Tensor]
) -> Tensor:
    """Stack the two ends of a path: shape (2, num_weights), in single precision or double.

    Args:
        layout: Where each parameter lies.
        start: State dict of the end at t = 0.
        end: State dict of the end at t = 1.
    """
    ends = torch.stack([layout.flatten(start), layout.flatten(end)])
    return ends.to(torch.promote_types(ends.dtype, torch.float32))


def _check_one_dtype(network: nn.Module) -> None:
    first_of = {
        parameter.dtype: name for name, parameter in reversed([*network.named_parameters()])
    }
    if len(first_of) > 1:
        found = ", ".join(f"{name!r} is {dtype}" for dtype, name in reversed(first_of.items()))
        raise UserError(
            f"model {type(network).__name__}: {found}; on a path all parameters must have one dtype"
        )
