"""The small dense twin: fewer channels, and as many weights as a sparse network keeps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch

from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution, Shapes
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.ranking import kept_per_layer
from lightning_sparse.sparsity.view import SparseView

_WIDTH = "width_multiplier"


@final
@dataclass(frozen=True, kw_only=True)
class Narrow(AbstractStaticMethod):
    """Keep the first channels of every layer, and all weights between them.

    One multiplier for all widths but those of image and classes, rounded, at least one channel;
    that which brings the number of weights nearest to what the sparse twin keeps. Channels that
    are left out compute zero. `ScaledStart` around it gives the start of a network of that width.
    A step costs 3 f_S of a dense forward pass, which is what that network costs.

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
        """Try every multiplier at which a width changes."""
        shapes = {name: tuple(weight.shape) for name, weight in view.weights.items()}
        wanted = sum(kept_per_layer(view.weights, self.distribution, self.sparsity).values())
        sizes = {size for shape in shapes.values() for size in shape[:2]}
        widths = sorted({(k + 0.5) / size for size in sizes for k in range(size)} | {1.0})
        width = min(widths, key=lambda width: abs(_num_weights(shapes, width) - wanted))
        view.state[_WIDTH] = width
        masks = {n: torch.zeros_like(w, dtype=torch.bool) for n, w in view.weights.items()}
        for name, (outputs, inputs) in _channels(shapes, width).items():
            masks[name][:outputs, :inputs] = True
        return masks

    def target_sparsity(self, step: int) -> float:
        """That of the twin."""
        return self.sparsity

    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Report the multiplier, and that no mask has to be kept with the weights."""
        return {_WIDTH: state[_WIDTH], "mask_bytes": 0.0} if state else {}


def _channels(shapes: Shapes, width: float) -> dict[str, tuple[int, int]]:
    """Count outputs and inputs that each layer keeps."""
    first, *_, last = [*shapes, *shapes]
    return {
        name: (
            shape[0] if name == last else max(1, round(width * shape[0])),
            shape[1] if name == first else max(1, round(width * shape[1])),
        )
        for name, shape in shapes.items()
    }


def _num_weights(shapes: Shapes, width: float) -> int:
    kept = _channels(shapes, width)
    return sum(math.prod([*kept[name], *shape[2:]]) for name, shape in shapes.items())
