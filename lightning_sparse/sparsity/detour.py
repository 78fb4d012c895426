"""What detours through more dimensions share: a burst of training outside a mask, and back."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from lightning_sparse.sparsity.checks import check_count, check_end
from lightning_sparse.sparsity.masks import Masks, fitting_masks, full_masks, measured_sparsity
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.view import SparseView


@dataclass(frozen=True, kw_only=True, eq=False)
class AbstractDetour(AbstractSparseMethod):
    """Train all weights for the first half of the run, and inside a mask for the rest.

    Weights outside the mask begin where the start has them, which is zero at the end of a run
    inside it. 3 dense forward passes a step while all weights are free, then 3 f_S.

    Attributes:
        masks: Boolean masks by parameter name, in force from half of the run on.
        num_steps: Optimizer steps of the run; half of them, rounded down, are the burst.
        free: What the burst may move; None for everything.
    """

    masks: Mapping[str, Tensor] = field(repr=False)
    num_steps: int
    free: Mapping[str, Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the fields."""
        check_count("num_steps", self.num_steps, minimum=2)

    @final
    def initial_masks(self, view: SparseView) -> Masks:
        """Keep what the burst may move.

        Raises:
            UserError: If masks do not fit the weights.
        """
        fitting_masks(self.masks, view.weights)
        if self.free is None:
            return full_masks(view.weights)
        return fitting_masks(self.free, view.weights)

    @final
    def is_due(self, step: int) -> bool:
        """At the end of the burst."""
        return step == self.last_step

    @abstractmethod
    def updated_masks(self, view: SparseView) -> Masks:
        """Return to the masks, or to others with as many weights."""

    @final
    def target_sparsity(self, step: int) -> float:
        """None during the burst, then that of the masks."""
        return 0.0 if step < self.last_step else measured_sparsity(self.masks)

    @final
    def check_length(self, num_steps: int) -> None:
        """Refuse a run that ends in the burst."""
        check_end(self.last_step, num_steps)

    @property
    def last_step(self) -> int:
        """The last step of the burst."""
        return self.num_steps // 2
