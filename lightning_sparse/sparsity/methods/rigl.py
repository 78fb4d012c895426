"""RigL: remove the smallest weights of each layer, grow where the dense gradient is largest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.growth import AbstractGrowth, LargestGradient
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.regrowth import (
    Regrow,
    SwapSchedule,
    scattered_masks,
    share_ever_kept,
    swap,
)
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class RigL(AbstractSparseMethod):
    """Random masks at the start; a due change takes the place of the optimizer's step.

    Evci et al. 2020 (https://arxiv.org/abs/1911.11134), as in their code: the first change is the
    first step, ``swaps.update_every`` optimizer steps lie between two, new weights and their
    momentum are zero, and a weight that is grown back at once keeps both. Deviation: a change
    counts as a step of the run, of which fewer are then the optimizer's. ITOP (see `SwapSchedule`)
    has ``replaces_update`` false. A change costs 2 f_S + 1 dense forward passes, a step 3 f_S.

    Attributes:
        sparsity: Overall, a fraction in [0, 1); every layer's count stays what it is at the start.
        distribution: Shares it out over the layers.
        swaps: When, and how many.
        growth: Where weights grow; `SmallestGradient` is the control.
        regrow: Whether a weight may be removed and grown by the same change.
        replaces_update: Whether a change takes the place of the optimizer's step, or comes after
            it and reads that step's gradient.
    """

    sparsity: float
    distribution: AbstractDistribution
    swaps: SwapSchedule
    growth: AbstractGrowth = field(default_factory=LargestGradient)
    regrow: Regrow = "allowed"
    replaces_update: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)

    def initial_masks(self, view: SparseView) -> Masks:
        """Draw them, with exact counts."""
        return scattered_masks(
            view,
            sparsity=self.sparsity,
            distribution=self.distribution,
            swaps=self.swaps,
            regrow=self.regrow,
        )

    def is_due(self, step: int) -> bool:
        """At the schedule's steps."""
        return self._made_before(step) is not None

    def needs_gradients(self, step: int) -> bool:
        """At changes, if growth reads them."""
        return self.growth.needs_gradients and self.is_due(step)

    def updated_masks(self, view: SparseView) -> Masks:
        """Remove and grow."""
        made = self._made_before(view.step)
        assert made is not None
        return swap(view, made, swaps=self.swaps, growth=self.growth, regrow=self.regrow)

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity

    def check_length(self, num_steps: int) -> None:
        """Refuse a period that is longer than the run."""
        self.swaps.check_length(num_steps, replaces_update=self.replaces_update)

    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Report the share of weights that was ever kept."""
        return share_ever_kept(state)

    def _made_before(self, step: int) -> int | None:
        return self.swaps.made_before(step, replaces_update=self.replaces_update)
