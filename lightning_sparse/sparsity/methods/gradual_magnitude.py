"""Gradual magnitude pruning: remove the smallest weights, more and more of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from torch import Tensor

from lightning_sparse.sparsity.gradual import AbstractGradual
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class GradualMagnitude(AbstractGradual):
    """Prune by magnitude, within each layer or over all, along a cubic schedule; masks are nested.

    Zhu & Gupta 2017 (https://arxiv.org/abs/1710.01878) in the setting of Gale et al. 2019. With a
    distribution each layer follows the schedule to its own final sparsity; without one all layers
    are ranked together. Deviations from TensorFlow's model_pruning: a pruned weight is zero for
    good, where there it keeps its value and may return; counts are exact, where there a histogram
    finds the threshold. A step costs 3 f_S of a dense forward pass, f_S falling with the density.
    """

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Score by magnitude."""
        return ((name, magnitude(weight)) for name, weight in view.weights.items())
