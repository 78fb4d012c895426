"""A round of iterative magnitude pruning: what a finished run keeps, less its smallest weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.masks import (
    Masks,
    check_masks_fit,
    global_masks,
    layer_counts,
    layerwise_masks,
    measured_sparsity,
    num_kept,
)
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import inside
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MagnitudeRound(AbstractStaticMethod):
    """Remove ceil(share n) of the n kept weights of a finished run, and train the rest.

    Frankle & Carbin 2019 (https://arxiv.org/abs/1803.03635) and Frankle et al. 2020
    (https://arxiv.org/abs/1912.05671), as in open_lth: all layers ranked together. To which
    weights the round goes back is the arm's start: those of before training, of an early step, or
    of the end (learning-rate rewinding; Renda et al. 2020, https://arxiv.org/abs/2003.02389). A
    step costs 3 f_S of a dense forward pass, of each round, after those of all earlier ones.

    Attributes:
        masks: Of that run, by parameter name.
        weights: That it ended with.
        share: Removed by a round, a fraction in [0, 1).
        within_layers: Whether each layer loses its own share.
    """

    masks: Mapping[str, Tensor] = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)
    share: float = 0.2
    within_layers: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("share", self.share)

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep the largest of what is kept; earlier ones first among equals.

        Raises:
            UserError: If the masks do not fit the weights.
        """
        check_masks_fit(self.masks, view.weights)
        scores = {n: inside(magnitude(self.weights[n]), self.masks[n]) for n in view.weights}
        counts = {name: layer.kept for name, layer in layer_counts(self.masks).items()}
        if self.within_layers:
            left = {name: self._left(count) for name, count in counts.items()}
            masks = layerwise_masks(scores.items(), left)
        else:
            masks = global_masks(scores, self._left(sum(counts.values())))
        return {name: mask.to(view.weights[name].device) for name, mask in masks.items()}

    def target_sparsity(self, step: int) -> float:
        """That of the masks, and a share of the rest."""
        return 1 - (1 - self.share) * (1 - measured_sparsity(self.masks))

    def _left(self, count: int) -> int:
        # What stays of the other share, rounded down: without the error of a product of floats.
        return count - num_kept(count, 1 - self.share)
