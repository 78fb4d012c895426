"""Masks as bits: the one form that files and checkpoints hold, and a hash of it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.nn import functional

from lightning_sparse.sparsity.masks import Masks


class PackedMask(TypedDict):
    """A mask of an eighth of its size: nothing but plain values and a tensor.

    Attributes:
        shape: That of the mask.
        bits: By `pack_mask`.
    """

    shape: list[int]
    bits: Tensor


def pack_mask(mask: Bool[Tensor, "..."]) -> UInt8[Tensor, " num_bytes"]:
    """Pack eight entries into a byte: row-major, highest bit first, zeros behind the last entry.

    The bytes are where the mask is: to the host an eighth of it travels.

    Example:
        >>> pack_mask(torch.tensor([True, False, True]))
        tensor([160], dtype=torch.uint8)
    """
    if mask.device.type == "cpu":
        return torch.from_numpy(np.packbits(mask.numpy()))
    return _packed_by_shifts(mask)


def _packed_by_shifts(mask: Tensor) -> Tensor:
    bits = functional.pad(mask.reshape(-1).to(torch.uint8), (0, -mask.numel() % 8))
    # Made where it is used: a tensor of given values would come from the host.
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=mask.device)
    return (bits.view(-1, 8) << shifts).sum(dim=1, dtype=torch.uint8)


def pack_masks(masks: Masks) -> dict[str, PackedMask]:
    """Pack every mask, and bring the bytes to the CPU, all at once.

    Args:
        masks: All on one device.
    """
    packed = [pack_mask(mask) for mask in masks.values()]
    if not packed:
        return {}
    on_host = torch.cat(packed).cpu().split([len(part) for part in packed])
    return {
        name: PackedMask(shape=list(mask.shape), bits=part.clone())
        for (name, mask), part in zip(masks.items(), on_host, strict=True)
    }


def unpack_masks(packed: Mapping[str, PackedMask]) -> Masks:
    """Undo `pack_masks`, on the CPU.

    Raises:
        ValueError: If the bytes of a mask do not belong to its shape.
    """
    return {name: unpack_mask(mask["bits"], mask["shape"]) for name, mask in packed.items()}


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
    for name, mask in sorted(pack_masks(masks).items()):
        digest.update(json.dumps([name, mask["shape"]]).encode())
        digest.update(mask["bits"].numpy().tobytes())
    return digest.hexdigest()
