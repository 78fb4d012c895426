"""Dense training: every weight is kept."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.sparsity.masks import Masks, full_masks
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class Dense(AbstractSparseMethod):
    """Keep everything, always."""

    is_sparse = False

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep everything."""
        return full_masks(view.weights)

    def is_due(self, step: int) -> bool:
        """Never."""
        return False

    def updated_masks(self, view: SparseView) -> Masks:
        """Leave the masks as they are."""
        return view.masks

    def target_sparsity(self, step: int) -> float:
        """Nothing is removed."""
        return 0.0
