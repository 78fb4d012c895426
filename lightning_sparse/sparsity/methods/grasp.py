"""GraSP: before training, keep the weights whose removal would weaken the gradient most."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.before_training import Control, chosen_masks
from lightning_sparse.sparsity.checks import check_count, check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import best_masks, check_scores
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class GraSP(AbstractStaticMethod):
    """Remove the weights with the largest -w (H g), H and g being Hessian and gradient.

    Wang et al. 2020 (https://arxiv.org/abs/2002.07376): all layers ranked together, training mode,
    logits divided by 200. Deviations from the authors' code: counts are exact, where there one
    weight fewer is removed; batches are those of training, where there each class has as many
    samples; linear layers keep their start, where there they are drawn anew for the scores. Costs
    about nine steps of ``num_batches`` batches at the start, and 3 f_S of a dense forward pass
    after.

    Attributes:
        sparsity: Overall, a fraction in [0, 1).
        distribution: Shares it out over the layers; None: all layers are ranked together.
        num_batches: Batches that gradient and product are the means of, at least 1.
        temperature: What the logits are divided by, above 0.
        control: Takes masks and what chose them apart, or ``none``.
    """

    sparsity: float
    distribution: AbstractDistribution | None = None
    num_batches: int = 1
    temperature: float = 200.0
    control: Control = "none"

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_count("num_batches", self.num_batches, minimum=1)
        if not self.temperature > 0:
            raise UserError(f"temperature={self.temperature!r}: must be a number above 0")

    def initial_masks(self, view: SparseView) -> Masks:
        """Score and rank.

        Raises:
            UserError: If the scores rank nothing.
        """

        def choose(weights: Weights) -> Masks:
            probe, batches = view.probe(), self.num_batches
            gradients = probe.gradients(
                at=weights, num_batches=batches, temperature=self.temperature
            )
            products = probe.hessian_times(
                gradients, at=weights, num_batches=batches, temperature=self.temperature
            )
            scores = {name: weight.detach() * products[name] for name, weight in weights.items()}
            check_scores(scores, of="GraSP", remedy="look at the start weights and the loss")
            return best_masks(scores, self.sparsity, self.distribution)

        return chosen_masks(view, choose, control=self.control)

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity
