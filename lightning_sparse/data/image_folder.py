"""Folders of image files, one per class, decoded when asked for: the usual layout of ImageNet."""

from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from lightning_sparse.data.augmentation import RandomResizedCropFlip
from lightning_sparse.data.source import ImageSource
from lightning_sparse.errors import UserError

# Of ImageNet's training pixels, per channel; what every published recipe uses.
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def build_image_folder(root: str | Path, size: int = 224, resize: int = 256) -> ImageSource:
    """Build the images under ``train/<class>/`` and ``val/<class>/`` of ``root``.

    Args:
        root: The folder; its name is the data set's.
        size: Height and width of what the network sees, in pixels.
        resize: Length of the shorter side from which test images are cut, in pixels.

    Raises:
        UserError: If a folder is missing, a class has no image, or training and test classes
            differ.
    """
    folder = Path(root).absolute()
    train, test = (_image_folder(folder / part) for part in ("train", "val"))
    if train.classes != test.classes:
        example = min(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"{folder}: train/ and val/ hold different classes, for example {example!r}; "
            "give both the same class folders"
        )
    return ImageSource(
        name=folder.name,
        train=DecodedImages(train.samples),
        test=DecodedImages(test.samples),
        num_classes=len(train.classes),
        image_shape=(3, size, size),
        augmentation=RandomResizedCropFlip(size=size, resize=resize),
    )


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
        try:
            with Image.open(file) as image:
                pixels = np.array(image.convert("RGB"))
        except OSError as error:
            raise UserError(f"{file}: cannot be decoded ({error}); replace or remove it") from error
        return (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - _MEAN) / _STD, label


def _image_folder(folder: Path) -> ImageFolder:
    if not folder.is_dir():
        raise UserError(
            f"no images at {folder}: expected one folder per class in it; put them there, or name "
            "another place with data.root=<folder>"
        )
    try:
        return ImageFolder(folder)
    except FileNotFoundError as error:
        raise UserError(f"{folder}: {error} Remove empty class folders or fill them") from error
