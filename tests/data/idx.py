"""Idx files, written as their format says."""

import gzip
import struct
from pathlib import Path

import numpy as np

FILES = {
    "train-images-idx3-ubyte": (12, 6, 5),
    "train-labels-idx1-ubyte": (12,),
    "t10k-images-idx3-ubyte": (4, 6, 5),
    "t10k-labels-idx1-ubyte": (4,),
}


def idx_bytes(entries, kind=8):
    lengths = struct.pack(f">{entries.ndim}I", *entries.shape)
    return bytes((0, 0, kind, entries.ndim)) + lengths + entries.tobytes()


def write_idx_folder(folder: Path, prefix="", *, compressed=()):
    """Write a small set of three classes; return its arrays by file name."""
    generator = np.random.default_rng(1)
    arrays = {
        name: generator.integers(0, 256, shape, dtype=np.uint8)
        if len(shape) > 1
        else np.arange(shape[0], dtype=np.uint8) % 3
        for name, shape in FILES.items()
    }
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        data = idx_bytes(array)
        if name in compressed:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / f"{prefix}{name}").write_bytes(data)
    return arrays
