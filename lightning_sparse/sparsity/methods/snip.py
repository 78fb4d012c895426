"""SNIP: before training, keep the weights whose removal would change the loss most."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.sparsity.before_training import Control, chosen_masks
from lightning_sparse.sparsity.checks import check_count, check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import best_masks, check_scores
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class SNIP(AbstractStaticMethod):
    """Score each weight by the magnitude of gradient times weight, and keep the highest.

    Lee et al. 2019 (https://arxiv.org/abs/1810.02340): all layers ranked together, batch norm in
    evaluation mode. Evci et al. 2020 rank within layers, in training mode. Deviations from the
    authors' code: biases are neither scored nor pruned, and the weights that are scored are those
    that are trained, where there a second start is drawn (``control=reinitialised`` is that).
    Costs one step of ``num_batches`` batches at the start, and 3 f_S of a dense forward pass after.

    Attributes:
        sparsity: Overall, a fraction in [0, 1).
        distribution: Shares it out over the layers; None: all layers are ranked together.
        num_batches: Batches that the gradient is the mean of, at least 1.
        training: Whether the network is in training mode for it.
        control: Takes masks and what chose them apart, or ``none``.
    """

    sparsity: float
    distribution: AbstractDistribution | None = None
    num_batches: int = 1
    training: bool = False
    control: Control = "none"

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_count("num_batches", self.num_batches, minimum=1)

    def initial_masks(self, view: SparseView) -> Masks:
        """Score and rank.

        Raises:
            UserError: If the scores rank nothing.
        """

        def choose(weights: Weights) -> Masks:
            gradients = view.probe().gradients(
                at=weights, num_batches=self.num_batches, training=self.training
            )
            scores = {n: (weight.detach() * gradients[n]).abs() for n, weight in weights.items()}
            check_scores(scores, of="SNIP", remedy="look at the start weights and the loss")
            return best_masks(scores, self.sparsity, self.distribution)

        return chosen_masks(view, choose, control=self.control)

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity
