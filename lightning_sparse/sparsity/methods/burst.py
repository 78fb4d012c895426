"""A burst of training outside a given mask, and back into it: a detour through more dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_end
from lightning_sparse.sparsity.masks import (
    Masks,
    Weights,
    check_masks_fit,
    full_masks,
    layer_counts,
    layerwise_masks,
    measured_sparsity,
)
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Burst(AbstractSparseMethod):
    """Train all weights for the first half of the run, and inside a mask for the rest.

    Weights outside the mask begin where the start has them, which is zero at the end of a run
    inside it. From one point in a mask to another by way of a larger space, as regrowth does for
    good (Evci et al. 2020) and AC/DC (Peste et al. 2021, https://arxiv.org/abs/2106.12379) in
    turns. 3 dense forward passes a step while all weights are free, then 3 f_S.

    Attributes:
        masks: Boolean masks by parameter name, in force from half of the run on.
        num_steps: Optimizer steps of the run; half of them, rounded down, are the burst.
        returns_to: ``masks``; or ``largest``, the largest weights of each layer, as many as these
            keep.
        fades: Whether the second half of the burst takes the weights outside the masks back to
            zero, by factors that come to 1 minus the share of it that is over; otherwise they are
            cut at its end.
        free: What the burst may move; None for everything.
    """

    masks: Mapping[str, Tensor] = field(repr=False)
    num_steps: int
    returns_to: Literal["masks", "largest"] = "masks"
    fades: bool = False
    free: Mapping[str, Tensor] | None = field(default=None, repr=False)
    moves_weights: bool = field(init=False)

    def __post_init__(self) -> None:
        """Check the fields."""
        check_count("num_steps", self.num_steps, minimum=2)
        object.__setattr__(self, "moves_weights", self.fades)
        if self.fades and self.returns_to == "largest":
            raise UserError(
                "fades=true, returns_to=largest: what has faded is zero and never among the "
                "largest; choose one of both"
            )

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep what the burst may move.

        Raises:
            UserError: If masks do not fit the weights.
        """
        check_masks_fit(self.masks, view.weights)
        if self.free is None:
            return full_masks(view.weights)
        check_masks_fit(self.free, view.weights)
        return _on_devices(self.free, view.weights)

    def is_due(self, step: int) -> bool:
        """At the end of the burst."""
        return step == self._last_step

    def updated_masks(self, view: SparseView) -> Masks:
        """Return to the masks, or to as many weights that are the largest now."""
        if self.returns_to == "masks":
            return _on_devices(self.masks, view.weights)
        scores = ((name, magnitude(weight)) for name, weight in view.weights.items())
        counts = {name: layer.kept for name, layer in layer_counts(self.masks).items()}
        return layerwise_masks(scores, counts)

    def moved_weights(self, view: SparseView, rates: Mapping[str, float]) -> Weights:
        """Take weights outside the masks a step nearer to zero."""
        first, last = self._last_step // 2, self._last_step
        if not first < view.step <= last:
            return view.weights
        # Of a weight that nothing else moves, (last - step) / (last - first) is left by then.
        factor = (last - view.step) / (last - view.step + 1)
        return {
            name: torch.where(self.masks[name].to(weight.device), weight, factor * weight)
            for name, weight in view.weights.items()
        }

    def target_sparsity(self, step: int) -> float:
        """None during the burst, then that of the masks."""
        return 0.0 if step < self._last_step else measured_sparsity(self.masks)

    def check_length(self, num_steps: int) -> None:
        """Refuse a run that ends in the burst."""
        check_end(self._last_step, num_steps)

    @property
    def _last_step(self) -> int:
        return self.num_steps // 2


def _on_devices(masks: Masks, weights: Weights) -> Masks:
    return {name: masks[name].to(weight.device) for name, weight in weights.items()}
