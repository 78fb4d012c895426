"""Random static masks: the control of every method that chooses its masks."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import random_masks
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class RandomMask(AbstractStaticMethod):
    """Keep an exact number of weights of each layer, drawn at random before the first step.

    Source: the "Static" rows of Evci et al. 2020 (https://arxiv.org/abs/1911.11134). Training costs
    3 f_S of a dense forward pass, f_S being that of a sparse one.

    Attributes:
        sparsity: Overall, a fraction in [0, 1).
        distribution: Shares it out over the layers.
    """

    sparsity: float
    distribution: AbstractDistribution

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)

    def initial_masks(self, view: SparseView) -> Masks:
        """Draw them from the ``mask`` stream."""
        return random_masks(
            view.weights, view.generator, sparsity=self.sparsity, distribution=self.distribution
        )

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity
