"""Named tensors on disk: only safetensors, since a pickle from a stranger can run code."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import write_bytes_atomic


def save_tensors(
    tensors: Mapping[str, Tensor], file: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors as safetensors; ``metadata`` is text that travels with them."""
    write_bytes_atomic(file, tensors_as_bytes(tensors, metadata=metadata))


def tensors_as_bytes(
    tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return what `save_tensors` writes: equal tensors and metadata give equal bytes."""
    # Copies, because weights that a network uses under two names share memory.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return _in_order(safetensors.torch.save(copies, dict(metadata or {})))


def _in_order(data: bytes) -> bytes:
    """Sort the metadata, whose order the library draws anew in every process.

    Equal tensors then make equal files. The form of a file: eight bytes with the length of the
    header, the header, the tensors (https://huggingface.co/docs/safetensors).
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if metadata := header.pop("__metadata__", None):
        header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    # Spaces, which the format allows behind the header, keep the tensors aligned to eight bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file, in the order of their names.

    The file's own order is lost in reading: it would come out otherwise in every process.

    Raises:
        UserError: If the file is missing, truncated, or not safetensors.
    """
    if not file.is_file():
        raise UserError(f"no file {file}; give a run folder that has finished training")
    try:
        loaded = safetensors.torch.load(file.read_bytes())
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{file} is damaged or not ours ({error}); remove its run folder and train it again"
        ) from error
    return dict(sorted(loaded.items()))


def tensors_from_bytes(data: bytes, *, where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `tensors_as_bytes` made: tensors in the order of their names, and the metadata.

    Args:
        data: All of a file.
        where: The file, for the message.

    Raises:
        UserError: If it is not safetensors, or not all of it.
    """
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise UserError(f"{where} is damaged or no safetensors file ({error})") from error
    return dict(sorted(tensors.items())), header.get("__metadata__", {})
