"""Removing more and more weights along a cubic schedule: when, and how many."""

import functools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_sparsity, check_window
from lightning_sparse.sparsity.distributions import AbstractDistribution, Shapes
from lightning_sparse.sparsity.masks import (
    Masks,
    fitting_masks,
    full_masks,
    global_masks,
    layer_counts,
    layerwise_masks,
    measured_sparsity,
    num_kept,
)
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.ranking import inside
from lightning_sparse.sparsity.schedules import cubic_sparsity
from lightning_sparse.sparsity.view import SparseView


@dataclass(frozen=True, kw_only=True)
class AbstractGradual(AbstractSparseMethod):
    """Everything is kept at the start, or all of given masks; less and less later.

    Masks are nested, counts exact.

    Attributes:
        sparsity: Nominal final sparsity, a fraction in [0, 1).
        start_step: Optimizer step after which pruning begins; everything is kept up to it.
        end_step: Step at which the final sparsity is reached; masks are frozen from there on.
        update_every: Steps between updates; ``end_step`` is an update whether or not it fits.
        distribution: Rule for the final sparsity of each layer, to which each follows the
            schedule; None: all layers are ranked together.
        masks: Boolean masks by parameter name that it begins with, for example of an earlier round
            of pruning; the schedule goes on from their sparsity. None: everything.
    """

    sparsity: float
    start_step: int
    end_step: int
    update_every: int
    distribution: AbstractDistribution | None
    masks: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)

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
        """Keep everything, or what the given masks keep.

        Raises:
            UserError: If the distribution refuses these layers, or less would be removed than the
                given masks have removed, which must not wait for the first update.
        """
        weights = view.weights
        given = None if self.masks is None else fitting_masks(self.masks, weights)
        finals = self._finals({name: weight.shape for name, weight in weights.items()})
        for name, sparsity in finals.items():
            if sparsity < self._given.get(name, 0.0):
                raise UserError(
                    f"sparsity={self.sparsity}: {name!r} would come to {sparsity:.4f}, and the "
                    f"masks that are given have {self._given[name]:.4f}; ask for more"
                )
        return full_masks(weights) if given is None else given

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
        """Cubic to ``sparsity``, from 0 or that of the given masks."""
        given = 0.0 if self.masks is None else measured_sparsity(self.masks)
        return self._scheduled(step, self.sparsity, given)

    @final
    def layer_sparsities(self, shapes: Shapes, step: int) -> dict[str, float]:
        """Target sparsity of each layer after ``step``, where a distribution says it."""
        return {
            name: self._scheduled(step, sparsity, self._given.get(name, 0.0))
            for name, sparsity in self._finals(shapes).items()
        }

    def _finals(self, shapes: Shapes) -> Mapping[str, float]:
        """Final sparsity of each layer, where a distribution says it."""
        if self.distribution is None:
            return {}
        return self.distribution.layer_sparsities(shapes, self.sparsity)

    @functools.cached_property
    def _given(self) -> Mapping[str, float]:
        """Sparsity of each layer by the given masks."""
        layers = layer_counts(self.masks) if self.masks is not None else {}
        return {name: 1 - layer.kept / layer.prunable for name, layer in layers.items()}

    def _scheduled(self, step: int, final_sparsity: float, initial: float) -> float:
        return cubic_sparsity(
            step, start=self.start_step, end=self.end_step, initial=initial, final=final_sparsity
        )
