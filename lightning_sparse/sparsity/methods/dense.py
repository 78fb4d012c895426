"""Dense training: every weight is kept."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.sparsity.masks import Masks, Weights, full_masks
from lightning_sparse.sparsity.method import AbstractSparseMethod


@final
@dataclass(frozen=True, kw_only=True)
class Dense(AbstractSparseMethod):
    """Keep everything, always."""

    def initial_masks(self, weights: Weights) -> Masks:
        """Keep everything."""
        return full_masks(weights)

    def is_due(self, step: int) -> bool:
        """Never."""
        return False

    def updated_masks(self, weights: Weights, masks: Masks, step: int) -> Masks:
        """Leave the masks as they are."""
        return masks

    def target_sparsity(self, step: int) -> float:
        """Nothing is removed."""
        return 0.0
