"""SynFlow: before training and without data, keep the weights that carry the most flow."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.sparsity.before_training import Control, chosen_masks
from lightning_sparse.sparsity.checks import check_count, check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks, Weights, full_masks
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import best_masks, check_scores
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class SynFlow(AbstractStaticMethod):
    """Prune in many rounds by how much of an input of ones passes through each weight.

    Tanaka et al. 2020 (https://arxiv.org/abs/2006.05467): all parameters made positive, evaluation
    mode, double precision, all layers ranked together, density d^(k/n) after round k of n. Costs
    ``num_rounds`` passes of one image at the start, and 3 f_S of a dense forward pass after.
    Deviation from the authors' code: shuffled masks really are shuffled.

    Attributes:
        sparsity: Overall, a fraction in [0, 1).
        distribution: Shares it out over the layers; None: all layers are ranked together.
        num_rounds: At least 1; the authors take 100.
        control: Takes masks and what chose them apart, or ``none``.
    """

    sparsity: float
    distribution: AbstractDistribution | None = None
    num_rounds: int = 100
    control: Control = "none"

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_count("num_rounds", self.num_rounds, minimum=1)

    def initial_masks(self, view: SparseView) -> Masks:
        """Prune round by round; what is removed never comes back.

        Raises:
            UserError: If nothing flows, or more than a number can say.
        """

        def choose(weights: Weights) -> Masks:
            probe, masks = view.probe(), full_masks(weights)
            for finished in range(1, self.num_rounds + 1):
                left = {name: weight.detach() * masks[name] for name, weight in weights.items()}
                flow = probe.synaptic_flow(at=left)
                scores = {name: flow[name] * weight.abs() for name, weight in left.items()}
                check_scores(scores, of="SynFlow", remedy="the output must depend on the weights")
                ranked = {n: score.masked_fill_(~masks[n], -1) for n, score in scores.items()}
                masks = best_masks(
                    ranked, self.sparsity, self.distribution, power=finished / self.num_rounds
                )
            return masks

        return chosen_masks(view, choose, control=self.control)

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity
