"""N:M sparsity by SR-STE: of every M weights along the input channels the N largest are seen."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_sparsity
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.ranking import groupwise_mask
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation, Refined
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class NOfM(AbstractSparseMethod):
    """Choose the largest of each group after every step; all weights are trained.

    Zhou et al. 2021 (https://arxiv.org/abs/2102.04010): gradients go straight through the masks,
    and weights outside of them decay. Layers whose input channels are no multiple of ``group``, as
    the first of most networks, stay dense. A step costs 2 f_S + 1 dense forward passes.

    Attributes:
        sparsity: Of each group; ``group`` (1 - sparsity) must be a whole number N.
        group: M, the weights of a group: neighbours along the input channels.
        decay: Times a weight outside the masks, added to its gradient; the authors take 2e-4.
    """

    sparsity: float
    group: int = 4
    decay: float = 2e-4

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_count("group", self.group, minimum=2)
        if not math.isclose(self.group * self.sparsity, round(self.group * self.sparsity)):
            why = f"of groups of {self.group} no whole number stays"
            raise UserError(f"sparsity={self.sparsity}: {why}; choose a multiple of 1/{self.group}")

    def initial_masks(self, view: SparseView) -> Masks:
        """Choose by the start weights, if any layer has groups."""
        if (masks := self.updated_masks(view)) is view.masks:
            raise UserError(f"group={self.group}: no layer has a multiple of so many inputs")
        return masks

    def is_due(self, step: int) -> bool:
        """After every step."""
        return True

    def updated_masks(self, view: SparseView) -> Masks:
        """Choose within groups; earlier ones first among equals."""
        masks = {name: self._mask(weight) for name, weight in view.weights.items()}
        is_same = all(torch.equal(mask, view.masks[name]) for name, mask in masks.items())
        return view.masks if is_same else masks

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity

    def reparameterisation(self) -> AbstractReparameterisation:
        """See the masked weights, train all."""
        return Refined(decay=self.decay)

    def step_flops(self, step: int, *, dense: float, sparse: float) -> float:
        """Gradients of all weights are needed."""
        return 2 * sparse + dense

    def _mask(self, weight: Tensor) -> Tensor:
        number = self.group - round(self.group * self.sparsity)
        if weight.shape[1] % self.group == 0:
            return groupwise_mask(magnitude(weight), number, group=self.group)
        return torch.ones_like(weight, dtype=torch.bool, requires_grad=False)
