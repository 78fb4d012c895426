"""STR: thresholds that are trained with the weights decide how many of each layer are seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation, SoftThreshold
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class STR(AbstractSparseMethod):
    """Compute with sign(w) max(|w| - sigmoid(s), 0), and train w and one s for each layer.

    Soft threshold reparameterisation, Kusupati et al. 2020 (https://arxiv.org/abs/2002.03231), as
    in the authors' code: s begins where the sigmoid is zero in single precision, and rises by its
    decay until gradients reach it. Sparsity is an outcome of ``decay``, to be searched for; a
    record has what was asked for and what came. Deviations: s decays by a number of its own, where
    the authors decay it as weights; it has the weights' learning rate. A step costs 3 f_S of a
    dense forward pass, f_S falling as thresholds rise.

    Attributes:
        sparsity: That is asked for, a fraction in [0, 1); nothing is done about it.
        decay: Of s, at least 0: more, and thresholds rise sooner.
        initial: The first s of all layers.
        momentum: Of s, a fraction in [0, 1).
    """

    sparsity: float
    decay: float
    initial: float = -3200.0
    momentum: float = 0.9
    moves_weights = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_sparsity("momentum", self.momentum)
        if not self.decay >= 0:
            raise UserError(f"decay={self.decay!r}: must be a number of at least 0")

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep what is above the first thresholds."""
        SoftThreshold().begin(view, self.initial)
        return self.updated_masks(view)

    def is_due(self, step: int) -> bool:
        """After every step."""
        return True

    def updated_masks(self, view: SparseView) -> Masks:
        """Keep what is seen; a weight at exactly the threshold is not."""
        return {name: seen != 0 for name, seen in SoftThreshold().seen(view).items()}

    def target_sparsity(self, step: int) -> float:
        """What is asked for at the end."""
        return self.sparsity

    def moved_weights(self, view: SparseView, rates: Mapping[str, float]) -> Weights:
        """Move the thresholds, and let the network compute with the new ones."""
        rule = SoftThreshold()
        rule.step_limits(view, rates, decay=self.decay, momentum=self.momentum)
        return rule.seen(view)

    def reparameterisation(self) -> AbstractReparameterisation:
        """See weights less their thresholds."""
        return SoftThreshold()
