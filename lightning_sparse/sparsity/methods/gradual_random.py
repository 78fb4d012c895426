"""Gradual random pruning: the control of gradual magnitude pruning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_sparse.sparsity.gradual import AbstractGradual
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class GradualRandom(AbstractGradual):
    """Remove any weights of what is still kept, along the cubic schedule.

    The random pruning of Gale et al. 2019 (https://arxiv.org/abs/1902.09574): what gradual pruning
    reaches by its schedule alone. A step costs 3 f_S of a dense forward pass.
    """

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Draw them from the step's place in the ``mask`` stream."""
        for name, weight in view.weights.items():
            yield name, torch.rand(weight.shape, generator=view.generator).to(weight.device)
