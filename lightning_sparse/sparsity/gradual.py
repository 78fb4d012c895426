"""Removing more and more weights along a cubic schedule: when, and how many."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from torch import Tensor

from lightning_sparse.sparsity.checks import check_count, check_sparsity, check_window
from lightning_sparse.sparsity.distributions import AbstractDistribution, Shapes
from lightning_sparse.sparsity.masks import Masks, full_masks, layerwise_masks, num_kept
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.ranking import global_masks, inside
from lightning_sparse.sparsity.schedules import cubic_sparsity
from lightning_sparse.sparsity.view import SparseView


@dataclass(frozen=True, kw_only=True)
class AbstractGradual(AbstractSparseMethod):
    """Everything is kept at the start, less and less later; masks are nested, counts exact.

    Attributes:
        sparsity: Nominal final sparsity, a fraction in [0, 1).
        start_step: Optimizer step after which pruning begins; everything is kept up to it.
        end_step: Step at which the final sparsity is reached; masks are frozen from there on.
        update_every: Steps between updates; ``end_step`` is an update whether or not it fits.
        distribution: Rule for the final sparsity of each layer, to which each follows the
            schedule; None: all layers are ranked together.
    """

    sparsity: float
    start_step: int
    end_step: int
    update_every: int
    distribution: AbstractDistribution | None

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_window(self.start_step, self.end_step)
        check_count("update_every", self.update_every, minimum=1)

    @abstractmethod
    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Yield name and scores of every layer, in its order; larger is kept longer.

        The scores are tensors of their own, which are written into.
        """

    @final
    def initial_masks(self, view: SparseView) -> Masks:
        """Keep everything.

        Raises:
            UserError: If the distribution refuses these layers, which must not wait for the first
                update.
        """
        if self.distribution is not None:
            self.layer_sparsities({name: weight.shape for name, weight in view.weights.items()}, 0)
        return full_masks(view.weights)

    @final
    def is_due(self, step: int) -> bool:
        """Every ``update_every`` steps after ``start_step``, and at ``end_step``."""
        elapsed = step - self.start_step
        is_regular = elapsed % self.update_every == 0
        return elapsed > 0 and step <= self.end_step and (is_regular or step == self.end_step)

    @final
    def updated_masks(self, view: SparseView) -> Masks:
        """Keep the best of what is still kept; the new masks are on the weights' device."""
        weights = view.weights
        # Layer by layer, so that the scores of all layers need not stand in memory together.
        scores = (
            (name, inside(score, view.masks[name].to(score.device), out=score))
            for name, score in self.scores(view)
        )
        if self.distribution is None:
            total = sum(weight.numel() for weight in weights.values())
            return global_masks(dict(scores), num_kept(total, self.target_sparsity(view.step)))
        sparsities = self.layer_sparsities({n: w.shape for n, w in weights.items()}, view.step)
        counts = {name: num_kept(w.numel(), sparsities[name]) for name, w in weights.items()}
        return layerwise_masks(scores, counts)

    @final
    def target_sparsity(self, step: int) -> float:
        """Cubic from 0 to ``sparsity``."""
        return self._scheduled(step, self.sparsity)

    @final
    def layer_sparsities(self, shapes: Shapes, step: int) -> dict[str, float]:
        """Target sparsity of each layer after ``step``, where a distribution says it."""
        assert self.distribution is not None
        finals = self.distribution.layer_sparsities(shapes, self.sparsity)
        return {name: self._scheduled(step, value) for name, value in finals.items()}

    def _scheduled(self, step: int, final_sparsity: float) -> float:
        return cubic_sparsity(
            step, start=self.start_step, end=self.end_step, initial=0.0, final=final_sparsity
        )
