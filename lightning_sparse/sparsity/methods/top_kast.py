"""Top-KAST: compute with the largest weights, train somewhat more of them."""

from dataclasses import dataclass
from typing import final

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.ranking import best_masks
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation, LargerSet
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class TopKAST(AbstractSparseMethod):
    """Forward with the largest weights of each layer, backward into a larger set around them.

    Jayakumar et al. 2021 (https://arxiv.org/abs/2106.03517), by the paper, since there is no code
    of the authors': weights outside the larger set keep their values, unused and untouched. A step
    costs 2 f_S of a dense forward pass, and f_S (1 - backward_sparsity) / (1 - sparsity).

    Attributes:
        sparsity: Of what the forward pass sees, a fraction in [0, 1).
        backward_sparsity: Outside of what is trained, at most ``sparsity``.
        distribution: Shares both out over the layers; None: all layers are ranked together.
        update_every: Steps after which both sets are chosen again.
        penalty: Times half the squares of seen weights, and of others that are trained divided by
            1 - ``sparsity``: what keeps a weight from entering lightly.
    """

    sparsity: float
    backward_sparsity: float
    distribution: AbstractDistribution | None = None
    update_every: int = 1
    penalty: float = 1e-4

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_sparsity("backward_sparsity", self.backward_sparsity)
        check_count("update_every", self.update_every, minimum=1)
        if self.backward_sparsity > self.sparsity:
            raise UserError(
                f"backward_sparsity={self.backward_sparsity}: must not be above {self.sparsity}, "
                "the sparsity of the forward pass"
            )

    def initial_masks(self, view: SparseView) -> Masks:
        """Choose both sets by the start weights."""
        return self.updated_masks(view)

    def is_due(self, step: int) -> bool:
        """Every ``update_every`` steps."""
        return step % self.update_every == 0

    def updated_masks(self, view: SparseView) -> Masks:
        """Choose both sets by magnitude."""
        scores = {name: magnitude(weight) for name, weight in view.weights.items()}
        larger = best_masks(scores, self.backward_sparsity, self.distribution)
        LargerSet.remember(view, larger)
        return best_masks(scores, self.sparsity, self.distribution)

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity

    def reparameterisation(self) -> AbstractReparameterisation:
        """See the one set, move the other."""
        return LargerSet(density=1 - self.sparsity, penalty=self.penalty)

    def step_flops(self, step: int, *, dense: float, sparse: float) -> float:
        """Forward and back through the smaller set, weight gradients of the larger."""
        larger = sparse * (1 - self.backward_sparsity) / (1 - self.sparsity)
        return 2 * sparse + min(dense, larger)
