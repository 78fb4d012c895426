"""Sparse-aware start weights: as large as their layer's or unit's lost inputs ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from typing_extensions import override

from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.method import AbstractSparseMethod, Momentum
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class ScaledStart(AbstractSparseMethod):
    """Any method, whose start weights are divided by the square root of their density.

    So masked units vary as dense ones do: Evci et al. 2022 (https://arxiv.org/abs/2010.03533), and
    ``rigl_tf2/init_utils.py`` of RigL's code. Costs what the method costs.

    Attributes:
        method: Decides the masks, by the start weights as they were.
        by: ``unit``, the density of each output, or ``layer``; a unit without inputs stays.
    """

    method: AbstractSparseMethod
    by: Literal["unit", "layer"] = "unit"
    replaces_update: bool = field(init=False)
    removed_momentum: Momentum = field(init=False)
    new_momentum: Momentum = field(init=False)

    def __post_init__(self) -> None:
        """Take over what the method says of itself."""
        for name in ("replaces_update", "removed_momentum", "new_momentum"):
            object.__setattr__(self, name, getattr(self.method, name))

    def start_weights(self, weights: Weights, masks: Masks) -> Weights:
        """Divide by the square root of the density."""
        dims = {n: tuple(range(self.by == "unit", mask.dim())) for n, mask in masks.items()}
        shares = {n: mask.double().mean(dims[n], keepdim=True) for n, mask in masks.items()}
        roots = {n: share.masked_fill(share == 0, 1).sqrt() for n, share in shares.items()}
        return {n: weight.detach() / roots[n].to(weight) for n, weight in weights.items()}

    @override
    def initial_masks(self, view: SparseView) -> Masks:
        return self.method.initial_masks(view)

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
