"""What does something beside a method, whichever it is: the rest is asked of the method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.method import AbstractSparseMethod, Momentum
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation
from lightning_sparse.sparsity.view import SparseView


@dataclass(frozen=True, kw_only=True)
class AbstractAround(AbstractSparseMethod):
    """A method around another, which it leaves as it is.

    Attributes:
        method: Decides the masks.
    """

    method: AbstractSparseMethod
    is_sparse: bool = field(init=False)
    replaces_update: bool = field(init=False)
    removed_momentum: Momentum = field(init=False)
    new_momentum: Momentum = field(init=False)

    def __post_init__(self) -> None:
        """Take over what the method says of itself."""
        for name in ("is_sparse", "replaces_update", "removed_momentum", "new_momentum"):
            object.__setattr__(self, name, getattr(self.method, name))

    @override
    def initial_masks(self, view: SparseView) -> Masks:
        return self.method.initial_masks(view)

    @override
    def start_weights(self, weights: Weights, masks: Masks) -> Weights | None:
        return self.method.start_weights(weights, masks)

    @override
    def is_due(self, step: int) -> bool:
        return self.method.is_due(step)

    @override
    def updated_masks(self, view: SparseView) -> Masks:
        return self.method.updated_masks(view)

    @override
    def target_sparsity(self, step: int) -> float:
        return self.method.target_sparsity(step)

    @override
    def check_length(self, num_steps: int) -> None:
        self.method.check_length(num_steps)

    @override
    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        return self.method.observations(state)

    @override
    def needs_gradients(self, step: int) -> bool:
        return self.method.needs_gradients(step)

    @override
    def step_flops(self, step: int, *, dense: float, sparse: float) -> float:
        return self.method.step_flops(step, dense=dense, sparse=sparse)

    @override
    def reparameterisation(self) -> AbstractReparameterisation | None:
        return self.method.reparameterisation()
