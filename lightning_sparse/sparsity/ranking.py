"""From scores to masks with exact counts: each layer by itself, or all layers at once."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_sparse.errors import DivergedError
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import (
    Masks,
    Weights,
    global_masks,
    layerwise_masks,
    num_kept,
)


def kept_per_layer(
    weights: Weights, distribution: AbstractDistribution, sparsity: float, *, power: float = 1.0
) -> dict[str, int]:
    """Count what each layer keeps where ``distribution`` shares out ``sparsity``.

    Args:
        weights: Tensors of the layers' shapes.
        distribution: Shares it out.
        sparsity: Overall, a fraction in [0, 1).
        power: As in `best_masks`.

    Raises:
        UserError: If the distribution refuses these layers.
    """
    shapes = {name: weight.shape for name, weight in weights.items()}
    shares = distribution.layer_sparsities(shapes, sparsity)
    return {
        name: num_kept(weight.numel(), _powered(shares[name], power))
        for name, weight in weights.items()
    }


def _powered(sparsity: float, power: float) -> float:
    """Raise the density to ``power``."""
    return float(sparsity if power == 1 else 1 - (1 - sparsity) ** power)


def best_masks(
    scores: Weights,
    sparsity: float,
    distribution: AbstractDistribution | None,
    *,
    power: float = 1.0,
) -> Masks:
    """Keep the highest scores, within each layer or, without a distribution, over all of them.

    Args:
        scores: One per weight, larger is kept longer.
        sparsity: Overall, a fraction in [0, 1).
        distribution: Shares ``sparsity`` out over the layers; None: all are ranked together.
        power: What densities are raised to, in (0, 1]: smaller, and more is kept.

    Example:
        >>> scores = {"a": torch.tensor([4.0, 3.0]), "b": torch.tensor([2.0, 1.0])}
        >>> best_masks(scores, 0.5, None)["b"]
        tensor([False, False])
    """
    if distribution is None:
        total = sum(score.numel() for score in scores.values())
        return global_masks(scores, num_kept(total, _powered(sparsity, power)))
    return layerwise_masks(
        scores.items(), kept_per_layer(scores, distribution, sparsity, power=power)
    )


def inside(scores: Tensor, places: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Rank what lies outside ``places`` below everything, zeros among them too.

    Filled in where it is used: a tensor of a given value would be copied from the host, which
    waits. ``out`` may be ``scores`` itself, whose memory then serves again.

    Example:
        >>> inside(torch.tensor([0.0, 3.0]), torch.tensor([True, False]))
        tensor([0., -inf])
    """
    return torch.where(places, scores, scores.new_full((), -torch.inf), out=out)


def groupwise_mask(scores: Tensor, num_kept: int, *, group: int) -> Tensor:
    """Keep the highest of each ``group`` neighbours along the second axis, the input channels.

    Ties by position.

    Args:
        scores: Larger is kept longer; the second axis is a multiple of ``group``.
        num_kept: Of each group.
        group: Size of a group.

    Example:
        >>> groupwise_mask(torch.tensor([[3.0, 1.0, 2.0, 2.0]]), 1, group=2)
        tensor([[ True, False,  True, False]])
    """
    channels_last = scores.movedim(1, -1)
    groups = channels_last.reshape(-1, group)
    order = groups.sort(dim=1, descending=True, stable=True).indices[:, :num_kept]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, value=True)
    return kept.view(channels_last.shape).movedim(-1, 1).contiguous()


def random_scores(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw one uniform number in [0, 1) per weight, in the order of the layers.

    Drawn on the generator's own device and moved to that of the weights.
    """
    return {
        name: torch.rand(weight.shape, generator=generator).to(weight.device)
        for name, weight in weights.items()
    }


def random_masks(
    weights: Weights,
    generator: torch.Generator,
    *,
    sparsity: float,
    distribution: AbstractDistribution,
) -> Masks:
    """Keep an exact number of each layer, anywhere."""
    return best_masks(random_scores(weights, generator), sparsity, distribution)


def shuffled(tensors: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Permute the entries of each tensor at random."""
    return {
        name: tensor.reshape(-1)[
            torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
        ].view(tensor.shape)
        for name, tensor in tensors.items()
    }


def check_scores(scores: Weights, *, of: str, remedy: str) -> None:
    """Refuse scores that rank nothing: all of them zero, or one that is no number.

    Raises:
        DivergedError: Saying which.
    """
    ends = [end for score in scores.values() if score.numel() for end in score.aminmax()]
    largest = float(torch.stack(ends).abs().max())
    if largest == 0:
        raise DivergedError(
            f"{of}: all scores are zero, so no weight is better than another; {remedy}"
        )
    if not math.isfinite(largest):
        raise DivergedError(f"{of}: a score is {largest}; {remedy}")
