"""Sparse-aware start weights: as large as their layer's or unit's lost inputs ask for."""

from dataclasses import dataclass
from typing import Literal, final

from lightning_sparse.sparsity.around import AbstractAround
from lightning_sparse.sparsity.masks import Masks, Weights


@final
@dataclass(frozen=True, kw_only=True)
class ScaledStart(AbstractAround):
    """Any method, whose start weights are divided by the square root of their density.

    So masked units vary as dense ones do: Evci et al. 2022 (https://arxiv.org/abs/2010.03533), and
    ``rigl_tf2/init_utils.py`` of RigL's code. Masks are chosen by the weights as they were. Costs
    what the method costs.

    Attributes:
        by: ``unit``, the density of each output, or ``layer``; a unit without inputs stays.
    """

    by: Literal["unit", "layer"] = "unit"

    def start_weights(self, weights: Weights, masks: Masks) -> Weights:
        """Divide by the square root of the density."""
        dims = {n: tuple(range(self.by == "unit", mask.dim())) for n, mask in masks.items()}
        shares = {n: mask.double().mean(dims[n], keepdim=True) for n, mask in masks.items()}
        roots = {n: share.masked_fill(share == 0, 1).sqrt() for n, share in shares.items()}
        return {n: weight.detach() / roots[n].to(weight) for n, weight in weights.items()}
