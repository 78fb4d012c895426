"""Masks: which weights are kept, and exactly how many."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.records import LayerSparsity

Weights = Mapping[str, Tensor]
"""Tensors by the network's own parameter names."""

Masks = Mapping[str, Bool[Tensor, "..."]]
"""Masks by the same names, each of its weight's shape; True is kept."""

_HALF_PRECISION = (torch.bfloat16, torch.float16)
_MANY = 100_000  # values, from which a sample of them saves time
_SAMPLED = 20_000  # of them at least
_MARGIN = 500  # ranks in the sample, six standard deviations


def num_kept(num_weights: int, sparsity: float) -> int:
    """Count the weights that stay: all but ``floor(sparsity * num_weights)``.

    Rounding down the zeros is RigL's convention (code of Evci et al. 2020). A product that misses
    an integer only by floating-point error counts as that integer.

    Args:
        num_weights: Size of the layer.
        sparsity: Fraction to remove, in [0, 1].

    Raises:
        ValueError: If ``sparsity`` lies outside [0, 1].

    Example:
        >>> num_kept(100, 0.29), 0.29 * 100
        (71, 28.999999999999996)
        >>> num_kept(3, 0.5)
        2
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity {sparsity} lies outside [0, 1]")
    exact = sparsity * num_weights
    nearest = round(exact)
    is_integer = math.isclose(exact, nearest, rel_tol=1e-12, abs_tol=1e-9)
    return num_weights - (nearest if is_integer else math.floor(exact))


def top_k_mask(scores: Shaped[Tensor, "*shape"], num_kept: int) -> Bool[Tensor, "*shape"]:
    """Keep the ``num_kept`` highest-scoring entries, breaking ties by position.

    Exactly ``num_kept`` entries are kept even when scores are tied, because the measured sparsity
    is reported to the reader and must match the requested one. Among equal scores the entry that
    comes first in row-major order wins; zeros of either sign are equal.

    Args:
        scores: Importance of each entry; larger is kept longer.
        num_kept: Between 0 and the number of scores.

    Returns:
        The mask, on the device of the scores, row-major.

    Raises:
        ValueError: If ``num_kept`` is out of range, or a NaN is among the ranked scores.

    Example:
        >>> top_k_mask(torch.tensor([2.0, 1.0, 3.0, 2.0]), 2)
        tensor([ True, False,  True, False])
    """
    return layerwise_masks([("scores", scores)], {"scores": num_kept})["scores"]


def layerwise_masks(
    scores: Iterable[tuple[str, Tensor]], num_kept_per_layer: Mapping[str, int]
) -> Masks:
    """Rank each layer by itself and keep its own exact count; see `top_k_mask`.

    On an accelerator the scores stay there, and it is waited for once, after the last layer.

    Args:
        scores: Names and scores of the layers. Taken one by one, so that a generator need not hold
            the scores of all layers at once.
        num_kept_per_layer: How many entries each of them keeps.

    Raises:
        ValueError: If a count is out of range, or a NaN is among the ranked scores.

    Example:
        >>> scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
        >>> layerwise_masks(scores.items(), {"a": 1, "b": 0})
        {'a': tensor([False,  True]), 'b': tensor([False])}
    """
    masks: dict[str, Tensor] = {}
    extremes: list[Tensor] = []
    for name, ranked in scores:
        (masks[name],), extreme = _select([ranked.detach()], num_kept_per_layer[name])
        extremes.append(extreme)
        del ranked  # its memory serves the next layer
    if extremes and bool(torch.cat(extremes).isnan().any()):
        raise ValueError("scores contain NaN")
    return masks


def global_masks(scores: Weights, num_kept: int) -> Masks:
    """Keep the ``num_kept`` highest scores of all layers together.

    Ties as in `top_k_mask`, earlier layers first.

    Raises:
        ValueError: If the count is out of range, or a NaN is among the ranked scores.

    Example:
        >>> global_masks({"a": torch.ones(2), "b": torch.ones(2)}, 3)
        {'a': tensor([True, True]), 'b': tensor([ True, False])}
    """
    masks, extremes = _select([score.detach() for score in scores.values()], num_kept)
    if bool(extremes.isnan().any()):
        raise ValueError("scores contain NaN")
    return dict(zip(scores, masks, strict=True))


def _select(layers: Sequence[Tensor], num_kept: int) -> tuple[list[Tensor], Tensor]:
    """Return the masks, and some of the ranked scores: a NaN is among these if there is any."""
    total = sum(scores.numel() for scores in layers)
    if not 0 <= num_kept <= total:
        raise ValueError(f"cannot keep {num_kept} of {total} entries")
    if num_kept == 0:
        nothing = [torch.zeros(s.shape, dtype=torch.bool, device=s.device) for s in layers]
        return nothing, layers[0].new_empty(0) if layers else torch.empty(0)
    on_cpu = all(scores.device.type == "cpu" for scores in layers)
    return (_select_by_partition if on_cpu else _select_by_sorting)(layers, num_kept)


def _select_by_partition(layers: Sequence[Tensor], num_kept: int) -> tuple[list[Tensor], Tensor]:
    """Select by NumPy, on the CPU: linear, and many times faster than `torch.kthvalue`.

    NumPy partitions with vector instructions, where ``kthvalue`` moves one element at a time. Which
    entry of a rank is found does not matter, so the scores are taken in the order in which they lie
    in memory, without a copy of a single layer's.
    """
    flat = _joined([_as_they_lie(scores) for scores in layers])
    # NumPy knows no bfloat16; a half-precision number is exact in single precision.
    values = (flat.float() if flat.dtype in _HALF_PRECISION else flat).numpy()
    lowest_kept = torch.as_tensor(_lowest_of_highest(values, num_kept)).to(flat.dtype)
    masks = [(scores >= lowest_kept).contiguous() for scores in layers]
    too_many = sum(int(mask.count_nonzero()) for mask in masks) - num_kept
    for mask, scores in zip(reversed(masks), reversed(layers), strict=True):
        if too_many <= 0:
            break
        # Of equal scores, the last ones go.
        tied = (scores == lowest_kept).reshape(-1).nonzero().squeeze(1)
        going = tied[-too_many:]
        mask.view(-1)[going] = False
        too_many -= len(going)
    # NaN is the highest there is.
    return masks, flat.max()[None]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate, without a copy of a single one."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _as_they_lie(scores: Tensor) -> Tensor:
    """Flatten in the order of memory."""
    return scores.permute(sorted(range(scores.dim()), key=scores.stride, reverse=True)).reshape(-1)


def _lowest_of_highest(values: npt.NDArray[Any], num_kept: int) -> Any:
    """Find the lowest of the ``num_kept`` highest.

    Of many values a sample says between which two it lies, so that a few are left to rank (Floyd &
    Rivest 1975, https://doi.org/10.1145/360680.360691). Numbers that very many values share, such
    as those of places that are masked already, are then counted and not ranked, which takes NumPy
    ten times as long as ranking numbers that differ.
    """
    if len(values) > _MANY:
        sample = np.sort(values[:: len(values) // _SAMPLED])
        middle = round(len(sample) * (1 - num_kept / len(values)))
        low = sample[max(0, middle - _MARGIN)]
        high = sample[min(len(sample) - 1, middle + _MARGIN)]
        is_above, is_below = values > low, values < high
        above_low, from_high = _count(is_above), len(values) - _count(is_below)
        if from_high < num_kept <= above_low:
            values, num_kept = values[is_above & is_below], num_kept - from_high
        elif _count(values > high) < num_kept <= from_high:
            return high
        elif above_low < num_kept <= _count(values >= low):
            return low
    return np.partition(values, len(values) - num_kept)[len(values) - num_kept]


def _count(places: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(places))


def _select_by_sorting(layers: Sequence[Tensor], num_kept: int) -> tuple[list[Tensor], Tensor]:
    """Select by a stable sort: no number of it is needed on the host, so nothing waits.

    Of what finds the largest on a GPU, only this is allowed under deterministic algorithms *and*
    says which of equal scores come first. The radix sort behind it compares bits: zeros of either
    sign are made equal by CUB (``DeviceRadixSort``), and NaN comes first or last by its sign.
    """
    flat = _joined([scores.reshape(-1) for scores in layers])
    values, order = flat.sort(stable=True, descending=True)
    mask = torch.zeros_like(flat, dtype=torch.bool)
    # Unlike assignment to an index, which under deterministic algorithms sorts once more.
    mask.index_fill_(0, order[:num_kept], value=True)
    parts = mask.split([scores.numel() for scores in layers])
    masks = [part.view(scores.shape) for part, scores in zip(parts, layers, strict=True)]
    # A copy: a view would keep the sorted scores of all layers in memory.
    return masks, values[:: max(1, len(values) - 1)].clone()


def full_masks(weights: Weights) -> Masks:
    """Keep everything."""
    return {
        name: torch.ones_like(weight, dtype=torch.bool, requires_grad=False)
        for name, weight in weights.items()
    }


def apply_masks_(tensors: Weights, masks: Masks) -> None:
    """Set the masked entries to (positive) zero in place; tensors without a mask stay.

    Filled, not multiplied: NaN and infinity under the mask become zero as well.

    Example:
        >>> weights = {"a": torch.tensor([1.0, -2.0])}
        >>> apply_masks_(weights, {"a": torch.tensor([True, False])})
        >>> weights["a"]
        tensor([1., 0.])
    """
    with torch.no_grad():
        for name, mask in masks.items():
            tensors[name].masked_fill_(~mask, 0)


def layer_counts(masks: Masks) -> dict[str, LayerSparsity]:
    """Count kept and prunable weights of each layer, waiting for an accelerator only once."""
    kept = torch.stack([mask.count_nonzero() for mask in masks.values()]).tolist() if masks else []
    return {
        name: LayerSparsity(kept=count, prunable=mask.numel())
        for (name, mask), count in zip(masks.items(), kept, strict=True)
    }


def kept_and_prunable(masks: Masks) -> tuple[int, int]:
    """Count kept and prunable weights over all layers.

    Example:
        >>> kept_and_prunable({"a": torch.tensor([True, False, True])})
        (2, 3)
    """
    return _over_all_layers(layer_counts(masks))


def measured_sparsity(masks: Masks) -> float:
    """Fraction of prunable weights that the masks remove, in [0, 1].

    Example:
        >>> measured_sparsity({"a": torch.tensor([True, False, True, True])})
        0.25
    """
    return sparsity_of(layer_counts(masks))


def sparsity_of(counts: Mapping[str, LayerSparsity]) -> float:
    """Fraction of prunable weights that are not kept, in [0, 1], from `layer_counts`."""
    kept, prunable = _over_all_layers(counts)
    return 1 - kept / prunable


def _over_all_layers(counts: Mapping[str, LayerSparsity]) -> tuple[int, int]:
    layers = counts.values()
    return sum(layer.kept for layer in layers), sum(layer.prunable for layer in layers)


def check_masks_fit(masks: Masks, weights: Weights) -> None:
    """Compare names and shapes, both ways; ``weights`` may be other masks.

    Raises:
        UserError: Naming the first layer that does not fit, and both shapes.
    """
    for name in (*weights, *masks):
        if name not in masks or name not in weights:
            lacking = "the network lacks" if name in masks else "the masks lack"
            raise UserError(
                f"masks do not fit: {lacking} {name!r}; use masks made for this network"
            )
        mask_shape, shape = tuple(masks[name].shape), tuple(weights[name].shape)
        if mask_shape != shape:
            raise UserError(
                f"masks do not fit: {name!r} has a mask of shape {mask_shape} for a weight of "
                f"shape {shape}; use masks made for this network"
            )


def fitting_masks(masks: Masks, weights: Weights) -> Masks:
    """Return the masks on the devices of the weights and in their order.

    Raises:
        UserError: If they do not fit the weights.
    """
    check_masks_fit(masks, weights)
    return {name: masks[name].to(weight.device) for name, weight in weights.items()}


def union(first: Masks, second: Masks) -> Masks:
    """Keep what either keeps.

    Raises:
        UserError: If the two do not have the same layers.
    """
    check_masks_fit(first, second)
    return {name: mask | second[name] for name, mask in first.items()}


def intersection(first: Masks, second: Masks) -> Masks:
    """Keep what both keep.

    Raises:
        UserError: If the two do not have the same layers.
    """
    check_masks_fit(first, second)
    return {name: mask & second[name] for name, mask in first.items()}
