"""Folders of image files, one per class, decoded when asked for: the usual layout of ImageNet."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from lightning_sparse.data.augmentation import ProgressiveSize, RandomResizedCropFlip
from lightning_sparse.data.class_folders import ClassFolders, list_class_folders, told_if_unreadable
from lightning_sparse.data.decoding import decoded
from lightning_sparse.data.source import ImageSource
from lightning_sparse.errors import NotHereError, UserError

# Of ImageNet's training pixels, per channel; what every published recipe uses.
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def build_image_folder(
    root: str | Path,
    size: int = 224,
    resize: int = 256,
    progressive: Mapping[str, int] | None = None,
) -> ImageSource:
    """Build the images under ``train/<class>/`` and ``val/<class>/`` of ``root``.

    Args:
        root: The folder; its name is the data set's.
        size: Height and width of what the network sees, in pixels.
        resize: Length of the shorter side from which test images are cut, in pixels.
        progressive: Arguments of a `ProgressiveSize` for training images; None for ``size``.

    Raises:
        UserError: If a folder is missing, a class has no image, or training and test classes
            differ.
    """
    folder = Path(root).absolute()
    train, test = open_folders(folder, "data.root")
    return ImageSource(
        name=folder.name,
        train=DecodedImages(train.samples),
        test=DecodedImages(test.samples),
        num_classes=len(train.classes),
        image_shape=(3, size, size),
        augmentation=imagenet_augmentation(size, resize, progressive),
    )


def imagenet_augmentation(
    size: int, resize: int, progressive: Mapping[str, int] | None
) -> RandomResizedCropFlip:
    """Build the augmentation of ImageNet from settings; see `build_image_folder`."""
    growth = None if progressive is None else ProgressiveSize(**progressive)
    return RandomResizedCropFlip(size=size, resize=resize, progressive=growth)


def open_folders(root: Path, field: str) -> tuple[ClassFolders, ClassFolders]:
    """List ``train/<class>/*`` and ``val/<class>/*`` of ``root``, sorted.

    Args:
        root: The folder above both.
        field: The setting that names it, for messages.

    Raises:
        UserError: If a folder is missing, a class has no image, or training and test classes
            differ.
    """
    train, test = (_class_folders(root / part, field) for part in ("train", "val"))
    if train.classes != test.classes:
        example = min(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"{root}: train/ and val/ hold different classes, for example {example!r}; "
            "give both the same class folders"
        )
    return train, test


@final
class DecodedImages(Dataset[tuple[Tensor, int]]):
    """Images decoded from their files, normalised, in their own sizes."""

    def __init__(self, samples: list[tuple[str, int]]) -> None:
        """Keep the file and the class of every image."""
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int]:
        """Decode one image.

        Raises:
            UserError: If the file is damaged or is not an image.
        """
        file, label = self.samples[index]
        levels = torch.from_numpy(decoded(file)).permute(2, 0, 1)
        return normalised_levels(levels), label


def normalised_levels(levels: UInt8[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Scale levels to [0, 1], then normalise each channel by ImageNet's mean and deviation."""
    mean, deviation = _mean_and_deviation_on(levels.device)
    return (levels / 255 - mean) / deviation


@functools.cache
def _mean_and_deviation_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """Copy them once: a copy from the host at every batch waits for all that a GPU has to do."""
    return _MEAN.to(device), _STD.to(device)


def _class_folders(folder: Path, field: str) -> ClassFolders:
    with told_if_unreadable(folder):
        is_there = folder.is_dir()
    if not is_there:
        raise NotHereError(
            f"no images at {folder}: expected one folder per class in it; put them there, or name "
            f"another place with {field}=<folder>"
        )
    listed = list_class_folders(folder)
    if not listed.classes:
        raise UserError(
            f"{folder}: holds no class folders; sort its images into {folder.name}/<class>/, as "
            "the validation images of ImageNet do not come"
        )
    return listed
