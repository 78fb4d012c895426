"""ImageNet, or anything of its shape, from ``.beton`` files; from image files without FFCV."""

import importlib.util
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from lightning_sparse.data.image_folder import (
    DecodedImages,
    imagenet_augmentation,
    open_folders,
)
from lightning_sparse.data.source import Images, ImageSource
from lightning_sparse.errors import UserError

if TYPE_CHECKING:
    from lightning_sparse.data.ffcv.beton import BetonImages

PARTS = ("train", "val")


def build_imagenet_ffcv(
    root: str | Path,
    image_root: str | Path,
    size: int = 224,
    resize: int = 256,
    progressive: Mapping[str, int] | None = None,
    name: str = "imagenet",
) -> ImageSource:
    """Build ``train.beton`` and ``val.beton`` of ``root``, as `make data-imagenet` writes them.

    Without FFCV the same images come from the folder they were written from, in the same order, by
    the same boxes and labels; only their resampling differs, and the time it takes.

    Args:
        root: Folder of the ``.beton`` files.
        image_root: Folder with ``train/<class>/`` and ``val/<class>/``; looked at without FFCV.
        size: Height and width of what the network sees, in pixels.
        resize: Test images are cut to the central ``size / resize`` of their shorter side.
        progressive: Arguments of a `ProgressiveSize` for training images; None for ``size``.
        name: Names the data set in records.

    Raises:
        UserError: If files are missing, damaged or contradict each other.
    """
    folder, images = Path(root).absolute(), Path(image_root).absolute()
    augmentation = imagenet_augmentation(size, resize, progressive)
    parts: tuple[Images, Images, int]
    if importlib.util.find_spec("ffcv") is None:
        warnings.warn(
            "FFCV is not installed (`make setup` installs it): reading the image files at "
            f"{images} one by one instead, which takes several times as long",
            stacklevel=2,
        )
        parts = _from_files(images, folder)
    else:
        parts = _from_betons(folder)
    train, test, num_classes = parts
    return ImageSource(
        name=name,
        train=train,
        test=test,
        num_classes=num_classes,
        image_shape=(3, size, size),
        augmentation=augmentation,
    )


def _from_betons(folder: Path) -> "tuple[BetonImages, BetonImages, int]":
    # Only here, since FFCV may be missing; and it takes seconds to import.
    from lightning_sparse.data.ffcv.beton import BetonImages  # noqa: PLC0415

    train, test = (BetonImages(folder / f"{part}.beton") for part in PARTS)
    num_classes = int(train.labels.max()) + 1
    _check_labels(folder, train.labels, test.labels)
    return train, test, num_classes


def _check_labels(
    folder: Path, train: Int64[np.ndarray, " num_train"], test: Int64[np.ndarray, " num_test"]
) -> None:
    """Refuse what makes another number of classes than there are."""
    again = "write both files from one folder with `make data-imagenet IMAGENET=<folder>`"
    seen = np.unique(train)
    if seen[0] < 0 or len(seen) != seen[-1] + 1:
        raise UserError(
            f"{folder / 'train.beton'}: its labels go from {seen[0]} to {seen[-1]}, but "
            f"{len(seen)} classes have images; classes are called 0, 1 and so on, and each needs "
            f"an image; {again}"
        )
    if test.max() > seen[-1] or test.min() < 0:
        raise UserError(f"{folder}: val.beton has classes that train.beton lacks; {again}")


def _from_files(images: Path, folder: Path) -> tuple[DecodedImages, DecodedImages, int]:
    train, test = open_folders(images, "data.image_root")
    return (
        DecodedImages(_without(train.samples, _skipped(folder, "train"), images)),
        DecodedImages(_without(test.samples, _skipped(folder, "val"), images)),
        len(train.classes),
    )


def _skipped(folder: Path, part: str) -> set[str]:
    """Names of the images that were left out of the file, so that indices agree without it."""
    note = folder / f"{part}.beton.json"
    if not note.is_file():
        return set()
    return set(json.loads(note.read_text(encoding="utf-8"))["skipped"])


def _without(
    samples: list[tuple[str, int]], skipped: set[str], root: Path
) -> list[tuple[str, int]]:
    return [
        (file, label)
        for file, label in samples
        if Path(file).relative_to(root).as_posix() not in skipped
    ]
