"""A folder of idx files: the format of MNIST, Fashion-MNIST, K-MNIST and EMNIST, held in memory.

Format: http://yann.lecun.com/exdb/mnist/, "The IDX file format". torchvision's readers take neither
compressed files nor, outside of assertions, offence at a header that is none.
"""

import functools
import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.class_folders import told_if_unreadable
from lightning_sparse.data.source import ImageSource, TensorImages, as_text
from lightning_sparse.errors import UserError

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"

# What test files are called by MNIST and those after it, and by EMNIST.
_TRAIN, _TEST = ("train",), ("t10k", "test")

_BYTES = 8  # the type of the entries, in the third byte
_WORD = np.dtype(">u4")


@dataclass(frozen=True, eq=False)
class IdxFile:
    """The entries of one file, and what names them.

    Attributes:
        file: Where it was read.
        entries: One dimension for labels, three for images.
        sha256: Of the file as it is uncompressed.
    """

    file: Path
    entries: UInt8[np.ndarray, "n ..."]
    sha256: str


def build_idx_folder(
    root: str | Path, prefix: str = "", max_shift: int = 2, num_classes: int | None = None
) -> ImageSource:
    """Build the images and labels of four idx files, plain or compressed by gzip (``.gz``).

    ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and ``t10k-`` or ``test-`` for the
    test set. Normalised by mean and standard deviation of the training pixels; augmented by shifts,
    filled with level 0. The data set's hash is that of the four files uncompressed.

    Args:
        root: The folder; its name is the data set's.
        prefix: What stands before ``train`` and ``test`` in the names: ``emnist-balanced-``.
        max_shift: Largest shift of a training image, in pixels.
        num_classes: Number of classes; None for the largest training label and one.

    Raises:
        UserError: If a file is missing, not as its header says, or does not fit the others.
    """
    folder = Path(root).absolute()
    found = [
        _found(folder, [f"{prefix}{part}-{kind}" for part in parts])
        for parts in (_TRAIN, _TEST)
        for kind in (IMAGES, LABELS)
    ]
    states = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in found)
    name = f"{folder.name}/{prefix}" if prefix else folder.name
    return _built(name, states, max_shift, num_classes)


@functools.lru_cache(maxsize=1)
def _built(
    name: str,
    states: tuple[tuple[Path, int, int], ...],
    max_shift: int,
    num_classes: int | None,
) -> ImageSource:
    """Build a set once for all jobs of a process: it takes a second and hundreds of megabytes.

    Args:
        name: Of the data set.
        states: The files, each with the time of its last change and its length, so that what has
            changed is read again.
        max_shift: See `build_idx_folder`.
        num_classes: Likewise.
    """
    files = [
        read_idx(file, num_dimensions)
        for (file, *_), num_dimensions in zip(states, (3, 1, 3, 1), strict=True)
    ]
    _check_fit(*files)
    train, train_labels, test, test_labels = (torch.from_numpy(file.entries) for file in files)
    std, mean = (moment.item() for moment in torch.std_mean(train.float()))
    if std == 0:
        raise UserError(f"{files[0].file}: all pixels are alike; nothing can be learned from them")

    def normalised(levels: torch.Tensor, labels: torch.Tensor) -> TensorImages:
        return TensorImages(levels[:, None].float().sub_(mean).div_(std), labels.long())

    return ImageSource(
        name=name,
        train=normalised(train, train_labels),
        test=normalised(test, test_labels),
        num_classes=int(train_labels.max()) + 1 if num_classes is None else num_classes,
        image_shape=(1, *train.shape[1:]),
        augmentation=RandomShift(max_shift, fill=-mean / std),
        sha256=hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest(),
    )


def read_idx(file: Path, num_dimensions: int) -> IdxFile:
    """Read a file of bytes, plain or compressed, and compare it with its header.

    Args:
        file: Compressed if its name ends in ``.gz``.
        num_dimensions: 3 for images, 1 for labels.

    Raises:
        UserError: If it cannot be read, is of another type or shape, or is longer or shorter than
            its header says.
    """
    data = _content(file)
    header = 4 + num_dimensions * _WORD.itemsize
    magic = bytes((0, 0, _BYTES, num_dimensions))
    if data[:4] != magic or len(data) < header:
        raise UserError(
            f"{file}: begins with {data[:4].hex() or 'nothing'}; an idx file of "
            f"{'images' if num_dimensions > 1 else 'labels'} begins with {magic.hex()} and its "
            "lengths: get the file anew"
        )
    shape = tuple(int(length) for length in np.frombuffer(data[4:header], _WORD))
    if len(data) - header != math.prod(shape):
        raise UserError(
            f"{file}: its header says {as_text(shape)} bytes, and {len(data) - header} follow; "
            "get the file anew"
        )
    # A copy: what torch is given must be writable.
    entries = np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()
    return IdxFile(file, entries, hashlib.sha256(data).hexdigest())


def _content(file: Path) -> bytes:
    with told_if_unreadable(file):
        data = file.read_bytes()
    if file.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be decompressed ({error}); get the file anew") from error


def _found(folder: Path, names: list[str]) -> Path:
    """Return the first file there is of these names, plain before compressed."""
    files = [folder / f"{name}{ending}" for name in names for ending in ("", ".gz")]
    with told_if_unreadable(folder):
        there = [file for file in files if file.is_file()]
    if not there:
        raise UserError(
            f"no {names[0]} or {names[0]}.gz in {folder}: put the four idx files there, or name "
            "another place with data.root=<folder>; `make data-fashion` fetches Fashion-MNIST"
        )
    return there[0]


def _check_fit(train: IdxFile, train_labels: IdxFile, test: IdxFile, test_labels: IdxFile) -> None:
    for images, labels in ((train, train_labels), (test, test_labels)):
        if len(images.entries) != len(labels.entries):
            raise UserError(
                f"{images.file} holds {len(images.entries)} images and {labels.file} "
                f"{len(labels.entries)} labels; they belong to different sets: get both anew"
            )
        if not images.entries.size:
            raise UserError(f"{images.file}: holds no pixels; get the file anew")
    if train.entries.shape[1:] != test.entries.shape[1:]:
        raise UserError(
            f"{train.file} holds images of {as_text(train.entries.shape[1:])} and {test.file} of "
            f"{as_text(test.entries.shape[1:])}; give both the same size"
        )
