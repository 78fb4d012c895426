"""A burst of training outside a given mask, and back into it: a detour through more dimensions."""

from dataclasses import dataclass
from typing import Literal, final

from lightning_sparse.sparsity.detour import AbstractDetour
from lightning_sparse.sparsity.masks import Masks, fitting_masks, layer_counts, layerwise_masks
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Burst(AbstractDetour):
    """Free all weights for the first half of the run, then cut what lies outside a mask.

    From one point in a mask to another by way of a larger space, as regrowth does for good (Evci
    et al. 2020) and AC/DC (Peste et al. 2021, https://arxiv.org/abs/2106.12379) in turns.

    Attributes:
        returns_to: ``masks``; or ``largest``, the largest weights of each layer, as many as these
            keep.
    """

    returns_to: Literal["masks", "largest"] = "masks"

    def updated_masks(self, view: SparseView) -> Masks:
        """Return to the masks, or to as many weights that are the largest now."""
        if self.returns_to == "masks":
            return fitting_masks(self.masks, view.weights)
        scores = ((name, magnitude(weight)) for name, weight in view.weights.items())
        counts = {name: layer.kept for name, layer in layer_counts(self.masks).items()}
        return layerwise_masks(scores, counts)
