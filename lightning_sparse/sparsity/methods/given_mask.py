"""Training inside a mask that is given and never changes: the scratch and the lottery arm."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from lightning_sparse.sparsity.masks import Masks, fitting_masks, measured_sparsity
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GivenMask(AbstractSparseMethod):
    """Keep what the given masks keep, from the first step to the last.

    Scratch and lottery are this one method; they differ in their start weights.

    Attributes:
        masks: Boolean masks by parameter name, usually of a finished pruned run.
    """

    masks: Mapping[str, Tensor] = field(repr=False)

    def initial_masks(self, view: SparseView) -> Masks:
        """Give the masks, on the weights' device and in the weights' order.

        Raises:
            UserError: If they do not fit the weights.
        """
        return fitting_masks(self.masks, view.weights)

    def is_due(self, step: int) -> bool:
        """Never."""
        return False

    def updated_masks(self, view: SparseView) -> Masks:
        """Leave the masks as they are."""
        return view.masks

    def target_sparsity(self, step: int) -> float:
        """Measured sparsity of the given masks."""
        return measured_sparsity(self.masks)
