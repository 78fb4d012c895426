"""Methods whose masks move, from masks that are given instead of random ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.around import AbstractAround
from lightning_sparse.sparsity.masks import Masks, fitting_masks
from lightning_sparse.sparsity.regrowth import AbstractRegrowth, remember_kept
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RegrowthFrom(AbstractAround):
    """RigL, SET and their like, which begin with the given masks and keep their counts.

    Costs what the method costs.

    Attributes:
        masks: Boolean masks by parameter name.
    """

    masks: Mapping[str, Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        """Check the method."""
        super().__post_init__()
        if not isinstance(self.method, AbstractRegrowth):
            raise UserError(
                f"method={type(self.method).__name__}: removes and grows no weights; name one that "
                "does, such as RigL"
            )

    def initial_masks(self, view: SparseView) -> Masks:
        """Give the masks.

        Raises:
            UserError: If they do not fit the weights.
        """
        return remember_kept(view, fitting_masks(self.masks, view.weights))
