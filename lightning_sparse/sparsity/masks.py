"""Masks: which weights are kept, exactly how many, and their form in a file."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Shaped, UInt8
from safetensors import safe_open
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.records import LayerSparsity
from lightning_sparse.tensor_files import load_tensors, save_tensors

Weights = Mapping[str, Tensor]
"""Tensors by the network's own parameter names."""

Masks = Mapping[str, Bool[Tensor, "..."]]
"""Masks by the same names, each of its weight's shape; True is kept."""

_FORMAT = "lightning_sparse.masks/1"
_HALF_PRECISION = (torch.bfloat16, torch.float16)


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
    comes first in row-major order wins. A selection, not a sort: linear in the number of scores.

    Args:
        scores: Importance of each entry; larger is kept longer.
        num_kept: Between 0 and the number of scores.

    Returns:
        The mask, on the device of the scores.

    Raises:
        ValueError: If ``num_kept`` is out of range, or a NaN is among the ranked scores.

    Example:
        >>> top_k_mask(torch.tensor([2.0, 1.0, 3.0, 2.0]), 2)
        tensor([ True, False,  True, False])
    """
    if not 0 <= num_kept <= scores.numel():
        raise ValueError(f"cannot keep {num_kept} of {scores.numel()} entries")
    scores = scores.detach()
    if num_kept == 0:
        return torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    lowest_kept = _kth_largest(scores, num_kept)
    mask = (scores >= lowest_kept).contiguous()
    num_from_tie = num_kept - int(mask.count_nonzero())
    if num_from_tie < 0:  # of equal scores, the last ones go
        tied = (scores == lowest_kept).reshape(-1).nonzero().squeeze(1)
        mask.view(-1)[tied[num_from_tie:]] = False
    return mask


def _kth_largest(scores: Tensor, k: int) -> Tensor:
    """Select by NumPy, on the CPU: many times faster than `torch.kthvalue`.

    NumPy partitions with vector instructions; ``kthvalue`` moves one element at a time, and its
    CUDA version is refused under deterministic algorithms. Which entry of a rank is found does not
    matter, so the scores are taken in the order in which they lie in memory, without a copy.

    Raises:
        ValueError: If there is a NaN, which ranks highest.
    """
    by_stride = sorted(range(scores.dim()), key=scores.stride, reverse=True)
    flat = scores.permute(by_stride).reshape(-1).cpu()
    # NumPy knows no bfloat16; a half-precision number is exact in single precision.
    values = (flat.float() if flat.dtype in _HALF_PRECISION else flat).numpy()
    highest = np.partition(values, len(values) - k)[-k:]
    if np.isnan(highest.max()):
        raise ValueError("scores contain NaN")
    return torch.as_tensor(highest[0]).to(scores.dtype)


def layerwise_masks(scores: Weights, num_kept_per_layer: Mapping[str, int]) -> Masks:
    """Rank each layer by itself and keep its own exact count.

    Example:
        >>> scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
        >>> layerwise_masks(scores, {"a": 1, "b": 0})
        {'a': tensor([False,  True]), 'b': tensor([False])}
    """
    return {name: top_k_mask(score, num_kept_per_layer[name]) for name, score in scores.items()}


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
    """Count kept and prunable weights of each layer."""
    return {
        name: LayerSparsity(kept=int(mask.count_nonzero()), prunable=mask.numel())
        for name, mask in masks.items()
    }


def kept_and_prunable(masks: Masks) -> tuple[int, int]:
    """Count kept and prunable weights over all layers.

    Example:
        >>> kept_and_prunable({"a": torch.tensor([True, False, True])})
        (2, 3)
    """
    counts = layer_counts(masks).values()
    return sum(count.kept for count in counts), sum(count.prunable for count in counts)


def measured_sparsity(masks: Masks) -> float:
    """Fraction of prunable weights that the masks remove, in [0, 1].

    Example:
        >>> measured_sparsity({"a": torch.tensor([True, False, True, True])})
        0.25
    """
    kept, prunable = kept_and_prunable(masks)
    return 1 - kept / prunable


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


def pack_mask(mask: Bool[Tensor, "..."]) -> UInt8[Tensor, " num_bytes"]:
    """Pack eight entries into a byte: row-major, highest bit first, zeros behind the last entry.

    Example:
        >>> pack_mask(torch.tensor([True, False, True]))
        tensor([160], dtype=torch.uint8)
    """
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def unpack_mask(packed: UInt8[Tensor, " num_bytes"], shape: Sequence[int]) -> Bool[Tensor, "..."]:
    """Undo `pack_mask`.

    Raises:
        ValueError: If the number of bytes does not belong to the shape.

    Example:
        >>> unpack_mask(torch.tensor([160], dtype=torch.uint8), (3,))
        tensor([ True, False,  True])
    """
    num_entries = math.prod(shape)
    if packed.numel() != math.ceil(num_entries / 8):
        raise ValueError(f"{packed.numel()} bytes cannot hold a mask of shape {tuple(shape)}")
    bits = np.unpackbits(packed.cpu().numpy(), count=num_entries)
    return torch.from_numpy(bits.astype(bool)).reshape(tuple(shape))


def masks_hash(masks: Masks) -> str:
    """SHA-256 over names, shapes and packed bits: the same on every rank, device and machine.

    The order of the layers does not count.

    Example:
        >>> masks_hash({"a": torch.tensor([True, False])})[:8]
        '77fd2c28'
    """
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(json.dumps([name, list(masks[name].shape)]).encode())
        digest.update(pack_mask(masks[name]).numpy().tobytes())
    return digest.hexdigest()


def save_masks(masks: Masks, file: Path) -> None:
    """Write the masks as packed bits in a safetensors file, all of it or nothing."""
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    metadata = {"format": _FORMAT, "shapes": json.dumps(shapes), "hash": masks_hash(masks)}
    save_tensors({name: pack_mask(mask) for name, mask in masks.items()}, file, metadata=metadata)


def load_masks(file: Path) -> Masks:
    """Read what `save_masks` wrote, on the CPU, in the order it was given.

    Raises:
        UserError: If there is no such file, it is damaged, or it does not hold masks.
    """
    packed = load_tensors(file)
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata() or {}
    if metadata.get("format") != _FORMAT:
        raise UserError(f"{file} does not hold masks; name the masks.safetensors of a pruned run")
    try:
        shapes = dict(json.loads(metadata["shapes"]))
        masks = {name: unpack_mask(packed[name], shape) for name, shape in shapes.items()}
        is_intact = masks_hash(masks) == metadata["hash"]
    except (KeyError, TypeError, ValueError):
        is_intact = False
    if not is_intact:
        raise UserError(f"{file} is damaged: its masks do not match their hash; make it again")
    return masks
