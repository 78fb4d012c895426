"""Masks in a file: packed bits as safetensors, with their shapes and their hash beside them."""

import json
from pathlib import Path

from safetensors import safe_open

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors, save_tensors
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.sparsity.packed_masks import masks_hash, pack_masks, unpack_mask

_FORMAT = "lightning_sparse.masks/1"


def save_masks(masks: Masks, file: Path) -> None:
    """Write the masks as packed bits in a safetensors file, all of it or nothing."""
    packed = pack_masks(masks)
    shapes = {name: mask["shape"] for name, mask in packed.items()}
    metadata = {"format": _FORMAT, "shapes": json.dumps(shapes), "hash": masks_hash(masks)}
    save_tensors({name: mask["bits"] for name, mask in packed.items()}, file, metadata=metadata)


def load_masks(file: Path) -> Masks:
    """Read what `save_masks` wrote, on the CPU, in the order it was given.

    Raises:
        UserError: If there is no such file, it is damaged, or it does not hold masks.
    """
    bits = load_tensors(file)
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata() or {}
    if metadata.get("format") != _FORMAT:
        raise UserError(f"{file} does not hold masks; name the masks.safetensors of a pruned run")
    try:
        shapes = dict(json.loads(metadata["shapes"]))
        masks = {name: unpack_mask(bits[name], shape) for name, shape in shapes.items()}
        is_intact = masks_hash(masks) == metadata["hash"]
    except (KeyError, TypeError, ValueError):
        is_intact = False
    if not is_intact:
        raise UserError(f"{file} is damaged: its masks do not match their hash; make it again")
    return masks
