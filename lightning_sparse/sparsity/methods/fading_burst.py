"""A burst of training outside a given mask whose second half leads back into it without a cut."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from lightning_sparse.sparsity.detour import AbstractDetour
from lightning_sparse.sparsity.masks import Masks, Weights, fitting_masks
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FadingBurst(AbstractDetour):
    """Free all weights for half of the run, and take what lies outside a mask back to zero.

    In the second half of the burst every step is followed by a factor on the weights outside the
    mask, under which one that nothing else moves falls along a straight line to zero.
    """

    moves_weights = True

    def updated_masks(self, view: SparseView) -> Masks:
        """Return to the masks."""
        return fitting_masks(self.masks, view.weights)

    def moved_weights(self, view: SparseView, rates: Mapping[str, float]) -> Weights:
        """Take weights outside the masks a step nearer to zero."""
        first, last = self.last_step // 2, self.last_step
        if not first < view.step <= last:
            return view.weights
        # Of a weight that nothing else moves, (last - step) / (last - first) is left by then.
        factor = (last - view.step) / (last - view.step + 1)
        return {
            name: torch.where(self.masks[name].to(weight.device), weight, factor * weight)
            for name, weight in view.weights.items()
        }
