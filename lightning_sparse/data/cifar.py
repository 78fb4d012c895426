"""CIFAR-10 and CIFAR-100 from the files of their authors, held in memory."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from lightning_sparse.data.augmentation import RandomCropFlip
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.errors import NotHereError, UserError


def build_cifar10(root: str | Path) -> ImageSource:
    """Build CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 10 classes.

    Args:
        root: Folder that holds ``cifar-10-batches-py``.

    Raises:
        UserError: If the files are missing or not the published ones.
    """
    return _build(CIFAR10, "cifar10", root)


def build_cifar100(root: str | Path) -> ImageSource:
    """Build CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images of 100 classes.

    Args:
        root: Folder that holds ``cifar-100-python``.

    Raises:
        UserError: If the files are missing or not the published ones.
    """
    return _build(CIFAR100, "cifar100", root)


def _build(dataset_type: type[CIFAR10], name: str, root: str | Path) -> ImageSource:
    """Pad 4, crop and mirror (He et al. 2016); normalise each channel by the training pixels."""
    try:
        # Checks every file against its published hash before it unpickles anything.
        train, test = (dataset_type(root, train=is_train) for is_train in (True, False))
    except OSError as error:
        raise UserError(
            f"{name} cannot be read: {error.filename}: {error.strerror}; make it readable for the "
            "user that this runs as, or set DATA_DIR to another folder"
        ) from error
    except RuntimeError as error:
        folder = Path(root).absolute() / dataset_type.base_folder
        state, kind = (
            ("incomplete or damaged", UserError) if folder.is_dir() else ("missing", NotHereError)
        )
        raise kind(
            f"{name} is {state}: looked in {folder}; download {dataset_type.url} and unpack it in "
            f"{folder.parent}, or set DATA_DIR to the folder above"
        ) from error
    train_pixels, test_pixels = _pixels(train.data), _pixels(test.data)
    std, mean = torch.std_mean(train_pixels, dim=(0, 2, 3), keepdim=True)
    return ImageSource(
        name=name,
        train=TensorImages((train_pixels - mean) / std, torch.tensor(train.targets)),
        test=TensorImages((test_pixels - mean) / std, torch.tensor(test.targets)),
        num_classes=len(train.classes),
        image_shape=(3, 32, 32),
        augmentation=RandomCropFlip(padding=4),
    )


def _pixels(data: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n c h w"]:
    return torch.from_numpy(data).permute(0, 3, 1, 2).contiguous() / 255
