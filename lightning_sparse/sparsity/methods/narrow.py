"""The small dense twin: fewer channels, and as many weights as a sparse network keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch

from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import kept_per_layer
from lightning_sparse.sparsity.view import SparseView
from lightning_sparse.sparsity.widths import nearest_narrow

_WIDTH = "width_multiplier"


@final
@dataclass(frozen=True, kw_only=True)
class Narrow(AbstractStaticMethod):
    """Keep the first channels of every layer, and all weights between them.

    One multiplier for all widths but those of image and classes, each rounded down or up, equal
    ones alike, at least one channel: what comes nearest to the number of weights that the sparse
    twin keeps. Left-out channels compute zero. `ScaledStart` around it gives the start of a network
    of that width. A step costs 3 f_S of a dense forward pass, as that network's does.

    Attributes:
        sparsity: Of the network whose twin it is, a fraction in [0, 1).
        distribution: Shares that out over the layers, and so decides how many are kept.
    """

    sparsity: float
    distribution: AbstractDistribution

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep the corner of each weight that the narrower network has."""
        shapes = {name: tuple(weight.shape) for name, weight in view.weights.items()}
        wanted = sum(kept_per_layer(view.weights, self.distribution, self.sparsity).values())
        view.state[_WIDTH], kept = nearest_narrow(shapes, wanted)
        masks = {n: torch.zeros_like(w, dtype=torch.bool) for n, w in view.weights.items()}
        for name, (outputs, inputs, *_) in kept.items():
            masks[name][:outputs, :inputs] = True
        return masks

    def target_sparsity(self, step: int) -> float:
        """That of the twin."""
        return self.sparsity

    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Report the multiplier, and that no mask is kept with the weights."""
        return {_WIDTH: state[_WIDTH], "mask_bytes": 0.0} if state else {}
