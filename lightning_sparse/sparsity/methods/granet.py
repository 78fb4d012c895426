"""GraNet: prune all layers together, more and more, and swap weights by gradients meanwhile."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_end, check_sparsity, check_window
from lightning_sparse.sparsity.growth import AbstractGrowth, LargestGradient
from lightning_sparse.sparsity.masks import Masks, global_masks, kept_and_prunable
from lightning_sparse.sparsity.ranking import inside
from lightning_sparse.sparsity.regrowth import AbstractRegrowth
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class GraNet(AbstractRegrowth):
    """Global magnitude pruning along a cubic schedule, each time followed by a swap per layer.

    Liu et al. 2021 (https://arxiv.org/abs/2106.10404): after the step, from a dense start or one of
    sparsity 0.5, with swaps of 0.5 to 0.005 along a cosine to the end of training, rounded up.
    Deviations from the authors' code: the step at which the schedule ends prunes too, where there
    the final sparsity is never reached; of N weights floor(N (1 - s)) stay, in exact arithmetic;
    masks at the start have exact counts. Costs 3 f_S dense forward passes, 2 f_S + 1 at a change.

    Attributes:
        sparsity: Overall at the end, a fraction in [0, 1).
        distribution: Shares out the initial sparsity.
        initial_sparsity: Overall at the start, at most ``sparsity``.
        start_step: Optimizer step from which the schedule counts; nothing is pruned up to it.
        end_step: Where ``sparsity`` is reached: a change of masks.
        growth: Where weights grow.
    """

    initial_sparsity: float = 0.0
    start_step: int
    end_step: int
    growth: AbstractGrowth = field(default_factory=LargestGradient)

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        check_sparsity("initial_sparsity", self.initial_sparsity)
        check_window(self.start_step, self.end_step)
        if self.initial_sparsity > self.sparsity:
            raise UserError(
                f"initial_sparsity={self.initial_sparsity}: must not be above {self.sparsity}, "
                "which is the sparsity at the end"
            )
        if self.swaps.made_before(self.end_step, replaces_update=False) is None:
            raise UserError(
                f"end_step={self.end_step}: no change of masks falls on it; choose a multiple of "
                f"update_every={self.swaps.update_every} after start_step={self.swaps.start_step}"
            )

    def check_length(self, num_steps: int) -> None:
        """Refuse a run in which nothing changes, or that ends before the sparsity is reached."""
        super().check_length(num_steps)
        check_end(self.end_step, num_steps)

    def pruned(self, view: SparseView) -> Masks:
        """Keep the largest of all layers, as many as the schedule leaves."""
        kept, total = kept_and_prunable(view.masks)
        number = min(kept, int(total * (1 - self._scheduled(view.step))))
        scores = {n: inside(magnitude(w), view.masks[n]) for n, w in view.weights.items()}
        return view.masks if number == kept else global_masks(scores, number)

    def target_sparsity(self, step: int) -> float:
        """Cubic from ``initial_sparsity`` to ``sparsity``."""
        return float(self._scheduled(step))

    def _scheduled(self, step: int) -> Fraction:
        first, last = (Fraction(str(share)) for share in (self.initial_sparsity, self.sparsity))
        left = Fraction(self.end_step - step, self.end_step - self.start_step)
        return last + (first - last) * min(max(left, Fraction(0)), Fraction(1)) ** 3
