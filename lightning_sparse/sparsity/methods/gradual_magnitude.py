"""Gradual magnitude pruning: remove the smallest weights of each layer, more and more of them."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution, Shapes
from lightning_sparse.sparsity.masks import Masks, full_masks, layerwise_masks, num_kept
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.schedules import cubic_sparsity
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class GradualMagnitude(AbstractSparseMethod):
    """Prune by magnitude within each layer, along a cubic schedule; masks are nested.

    Zhu & Gupta 2017 (https://arxiv.org/abs/1710.01878) in the setting of Gale et al. 2019. Each
    layer follows the schedule to its own final sparsity, with exact counts. Deviations from
    TensorFlow's model_pruning: a pruned weight is zero for good, where there it keeps its value
    and may return; counts are exact, where there a histogram finds the threshold.

    Attributes:
        sparsity: Nominal final sparsity, a fraction in [0, 1); the distribution shares it out.
        start_step: Optimizer step after which pruning begins; everything is kept up to it.
        end_step: Step at which the final sparsity is reached; masks are frozen from there on.
        update_every: Steps between updates; ``end_step`` is an update whether or not it fits.
        distribution: Rule for the final sparsity of each layer.
    """

    sparsity: float
    start_step: int
    end_step: int
    update_every: int
    distribution: AbstractDistribution

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_count("start_step", self.start_step, minimum=0)
        check_count("end_step", self.end_step, minimum=1)
        check_count("update_every", self.update_every, minimum=1)
        if self.end_step <= self.start_step:
            raise UserError(
                f"end_step={self.end_step}: must come after start_step={self.start_step}"
            )

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep everything.

        Raises:
            UserError: If the distribution refuses these layers, which must not wait for the first
                update.
        """
        self.layer_sparsities({name: weight.shape for name, weight in view.weights.items()}, 0)
        return full_masks(view.weights)

    def is_due(self, step: int) -> bool:
        """Every ``update_every`` steps after ``start_step``, and at ``end_step``."""
        elapsed = step - self.start_step
        is_regular = elapsed % self.update_every == 0
        return elapsed > 0 and step <= self.end_step and (is_regular or step == self.end_step)

    def updated_masks(self, view: SparseView) -> Masks:
        """Keep the largest of what is still kept; the new masks are on the weights' device."""
        weights = view.weights
        sparsities = self.layer_sparsities(
            {name: weight.shape for name, weight in weights.items()}, view.step
        )
        counts = {
            name: num_kept(weight.numel(), sparsities[name]) for name, weight in weights.items()
        }
        # Layer by layer, so that the scores of all layers never stand in memory together.
        scores = (
            (name, _scores(weight, view.masks[name].to(weight.device)))
            for name, weight in weights.items()
        )
        return layerwise_masks(scores, counts)

    def target_sparsity(self, step: int) -> float:
        """Cubic from 0 to ``sparsity``."""
        return self._scheduled(step, self.sparsity)

    def layer_sparsities(self, shapes: Shapes, step: int) -> dict[str, float]:
        """Target sparsity of each layer after ``step``."""
        finals = self.distribution.layer_sparsities(shapes, self.sparsity)
        return {name: self._scheduled(step, value) for name, value in finals.items()}

    def _scheduled(self, step: int, final_sparsity: float) -> float:
        return cubic_sparsity(
            step, start=self.start_step, end=self.end_step, initial=0.0, final=final_sparsity
        )


def _scores(weight: Tensor, mask: Tensor) -> Tensor:
    scores = magnitude(weight)
    # Below every magnitude, so that a kept weight of exactly zero outranks a pruned one. Filled in
    # where it is used: a tensor of a given value would be copied from the host, which waits.
    return torch.where(mask, scores, scores.new_full((), -1.0), out=scores)
