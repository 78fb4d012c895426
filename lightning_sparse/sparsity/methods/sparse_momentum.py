"""Sparse momentum: layers whose averaged gradients are larger get more of the weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch

from lightning_sparse.sparsity.apportionment import apportioned
from lightning_sparse.sparsity.growth import AveragedGradient, averages_of
from lightning_sparse.sparsity.masks import layer_counts, num_kept
from lightning_sparse.sparsity.regrowth import AbstractRegrowth
from lightning_sparse.sparsity.view import SparseView

_NEARLY_DENSE = 0.2  # least sparsity of a layer that removes its whole share
_MOST_GROWN = 0.99  # of a layer's empty places


@final
@dataclass(frozen=True, kw_only=True)
class SparseMomentum(AbstractRegrowth):
    """Remove the smallest of each layer; share out and grow as many by averaged gradients.

    Dettmers & Zettlemoyer 2019 (https://arxiv.org/abs/1907.04840): half of the weights once an
    epoch, by a cosine to 0.005, rounded up. A layer grows in proportion to the mean magnitude of
    the average over its active weights, at most 0.99 of its empty places. One that is less than
    20 % sparse and whose proportion is above one over the number of layers removes no larger share
    than it is sparse. Deviations from the authors' code: numbers are whole and add up, so the
    total stays; new momentum is zero, where there it is the layer's mean; the average is
    `AveragedGradient`, whatever the optimizer. Every step up to the last change costs 2 f_S + 1
    dense forward passes, later ones 3 f_S.

    Attributes:
        growth: The average.
    """

    growth: AveragedGradient = field(default_factory=AveragedGradient)

    def num_removed(self, view: SparseView, made: int) -> dict[str, int]:
        """Count by the schedule, less in layers that are nearly dense and important."""
        numbers, shares = super().num_removed(view, made), shares_of_layers(view)
        for name, layer in layer_counts(view.masks).items():
            sparsity = 1 - layer.kept / layer.prunable
            if sparsity < _NEARLY_DENSE and shares[name] > 1 / len(shares):
                numbers[name] = min(numbers[name], num_kept(layer.kept, 1 - sparsity))
        return numbers

    def num_grown(self, view: SparseView, removed: Mapping[str, int]) -> Mapping[str, int]:
        """Share out over the layers what all of them remove."""
        layers, shares = layer_counts(view.masks), shares_of_layers(view)
        empty = [layer.prunable - layer.kept + removed[n] for n, layer in layers.items()]
        limits, total = [int(_MOST_GROWN * places) for places in empty], sum(removed.values())
        # Where nearly everything is kept, there may be too few places below the limits.
        room = limits if sum(limits) >= total else empty
        grown = apportioned(total, [shares[name] for name in layers], room)
        return dict(zip(layers, grown, strict=True))


def shares_of_layers(view: SparseView) -> dict[str, float]:
    """Mean magnitude of the average over each layer's active weights; together they are 1."""
    means = [
        average.double().abs().mul(mask).sum() / mask.sum().clamp(min=1)
        for average, mask in zip(averages_of(view).values(), view.masks.values(), strict=True)
    ]
    values = torch.stack(means).tolist()
    total = sum(values) or 1.0
    return {name: value / total for name, value in zip(view.masks, values, strict=True)}
