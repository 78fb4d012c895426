"""SET: remove the smallest weights of each layer, and grow as many others at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.growth import AtRandom
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
class SET(AbstractSparseMethod):
    """Sparse evolutionary training: random masks at the start, random growth after due steps.

    Mocanu et al. 2018 (https://doi.org/10.1038/s41467-018-04316-3) as it stands in the code of
    Evci et al. 2020: removal by magnitude, where the original takes shares of positive and of
    negative weights apart, draws new weights afresh and loses all momentum once an epoch. New
    weights and their momentum are zero; a weight that is grown back at once keeps both. ITOP is
    this method with the schedule that `SwapSchedule` names. Training costs 3 f_S of a dense
    forward pass.

    Attributes:
        sparsity: Overall, a fraction in [0, 1); every layer's count stays what it is at the start.
        distribution: Shares it out over the layers.
        swaps: When, and how many.
        regrow: Whether a weight may be removed and grown by the same change.
    """

    sparsity: float
    distribution: AbstractDistribution
    swaps: SwapSchedule
    regrow: Regrow = "allowed"

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
        """Every so many steps of the window, both ends included."""
        return self.swaps.made_before(step, replaces_update=False) is not None

    def updated_masks(self, view: SparseView) -> Masks:
        """Remove and grow."""
        return swap(view, view.step, swaps=self.swaps, growth=AtRandom(), regrow=self.regrow)

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity

    def check_length(self, num_steps: int) -> None:
        """Refuse a period that is longer than the run."""
        self.swaps.check_length(num_steps, replaces_update=False)

    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Report the share of weights that was ever kept."""
        return share_ever_kept(state)
