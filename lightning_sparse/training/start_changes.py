"""What becomes of start weights inside a mask when they meet those of another point."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import normalisation_parameters, prunable_weights
from lightning_sparse.sparsity.masks import Masks, Weights, check_masks_fit
from lightning_sparse.streams import stream_generator


class AbstractStartChange(ABC):
    """Another start, made from the weights of the start and those of another point.

    Attributes:
        takes_norms: Whether scale and shift of normalisation layers become the other point's.
    """

    takes_norms: bool = False

    @abstractmethod
    def changed(
        self, weights: Weights, other: Weights, masks: Masks, generator: torch.Generator
    ) -> Weights:
        """Give other prunable weights; what lies outside the masks is masked afterwards.

        Args:
            weights: Those at the start, on the CPU.
            other: Those of the other point, by the same names.
            masks: Which of them count.
            generator: Of whatever is drawn, on the CPU.
        """


def change_(
    network: nn.Module,
    change: AbstractStartChange,
    other: Mapping[str, Tensor],
    masks: Masks,
    *,
    seed: int,
) -> None:
    """Change the start weights of ``network``.

    Args:
        network: At its start.
        change: How.
        other: State dict of the other point.
        masks: By the names of the prunable weights.
        seed: Of the ``mask`` stream, in a place of its own.

    Raises:
        UserError: If masks or weights are of another network.
    """
    parameters, weights = dict(network.named_parameters()), prunable_weights(network)
    check_masks_fit(masks, weights)
    norms = normalisation_parameters(network) if change.takes_norms else {}
    for name in (*weights, *norms):
        if name not in other or other[name].shape != parameters[name].shape:
            raise UserError(
                f"method.start_changed_by: has no {name!r} of shape "
                f"{tuple(parameters[name].shape)}; name a run of this network"
            )
    made = change.changed(
        {name: weight.detach().clone() for name, weight in weights.items()},
        {name: other[name] for name in weights},
        masks,
        stream_generator(seed, "mask", 0, 1),
    )
    with torch.no_grad():
        for name, value in {**made, **{name: other[name] for name in norms}}.items():
            parameters[name].copy_(value)


@final
@dataclass(frozen=True, kw_only=True)
class Signs(AbstractStartChange):
    """The magnitudes of the start with the signs of the other point, inside the masks.

    What signs alone carry of a solution (Zhou et al. 2019, https://arxiv.org/abs/1905.01067;
    Gadhikar et al. 2025, https://arxiv.org/abs/2504.12801).

    Attributes:
        right: Each sign is the other point's with this probability, in [0, 1], else the opposite;
            1/2 draws signs at random.
        shuffled: Whether the other point's signs are permuted within each layer's mask, which
            leaves their number alone.
        takes_norms: As above.
    """

    right: float = 1.0
    shuffled: bool = False
    takes_norms: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        if not 0 <= self.right <= 1:
            raise UserError(f"method.start_change.right={self.right}: must lie in [0, 1]")

    def changed(
        self, weights: Weights, other: Weights, masks: Masks, generator: torch.Generator
    ) -> Weights:
        """Copy signs; zero counts as positive."""
        made = {}
        for name, weight in weights.items():
            mask = masks[name]
            signs = torch.ones_like(weight).copysign(other[name])[mask]
            if self.shuffled:
                signs = signs[torch.randperm(len(signs), generator=generator)]
            is_wrong = torch.rand(len(signs), generator=generator) >= self.right
            made[name] = weight.clone()
            made[name][mask] = weight[mask].copysign(torch.where(is_wrong, -signs, signs))
        return made


@final
@dataclass(frozen=True, kw_only=True)
class Jump(AbstractStartChange):
    """A step in a random direction inside the masks, as long as to the other point inside them.

    The direction is isotropic: Gaussian in every weight that is kept.
    """

    def changed(
        self, weights: Weights, other: Weights, masks: Masks, generator: torch.Generator
    ) -> Weights:
        """Add a Gaussian vector of exactly that length, up to rounding."""
        steps = {
            name: torch.randn(weight.shape, generator=generator, dtype=torch.float64) * masks[name]
            for name, weight in weights.items()
        }
        away = {name: (other[name] - weight) * masks[name] for name, weight in weights.items()}
        factor = _length(away) / _length(steps)
        return {name: weight + factor * steps[name] for name, weight in weights.items()}


def _length(vectors: Weights) -> float:
    return math.hypot(*(float(vector.double().norm()) for vector in vectors.values()))
