"""What a data set hands over item by item, looked at where it comes in.

Images in memory are looked at once, by `lightning_sparse.data.source.ImageSource` itself.
"""

import operator
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lightning_sparse.data.augmentation import RandomResizedCropFlip
from lightning_sparse.data.draws import uniform_draws
from lightning_sparse.data.source import (
    ImageDataset,
    Images,
    ImageSource,
    TensorImages,
    as_text,
    is_finite,
)
from lightning_sparse.errors import UserError, theirs


def check_source(source: ImageSource) -> None:
    """Look at the first and the last item of each set, and at a training image once augmented.

    Takes milliseconds. What is wrong with items in between shows when they are asked for.

    Raises:
        UserError: Naming the set, the item and what is wrong with it.
    """
    for kind in source.sets():
        images = checked_items(source, kind)
        if not isinstance(images, TensorImages):
            for index in sorted({0, len(images) - 1}):
                images[index]
    train = checked_items(source, "training")
    first = train.images[0] if isinstance(train, TensorImages) else train[0][0]
    _check_augmentation(source, first)


def checked_items(source: ImageSource, kind: str) -> Images:
    """Return the ``training`` or ``test`` set, of which every item is looked at as it comes in."""
    images = source.sets()[kind]
    return images if isinstance(images, TensorImages) else CheckedItems(images, source, kind)


@final
class CheckedItems:
    """A data set that makes its items one by one, of which each is looked at.

    It is cheap beside the making of an item, and runs where that does: in a loader process, if
    there are any. Whatever the data set raises becomes one line that names the item.
    """

    def __init__(self, dataset: ImageDataset, source: ImageSource, kind: str) -> None:
        self._dataset = dataset
        self._source = source
        self._kind = kind
        self._crops = isinstance(source.augmentation, RandomResizedCropFlip)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "c h w"], int]:
        """Return one image and its class.

        Raises:
            UserError: If it cannot be had, or is not an image and a class of the data set.
        """
        what = f"data set {self._source.name}: {self._kind} image {index}"
        with theirs(what):
            item = self._dataset[index]
        image, label = _pair(item, what)
        return self._image(image, what), self._label(label, what)

    def _image(self, image: Any, what: str) -> Tensor:
        if not isinstance(image, Tensor):
            raise UserError(
                f"{what} is a {type(image).__name__}; make it a float32 tensor [channels, height, "
                "width], for example by torchvision.transforms.ToTensor()"
            )
        if image.dtype != torch.float32 or image.ndim != len("chw"):
            raise UserError(
                f"{what} is {image.dtype} with shape {as_text(image.shape)}; expected float32 "
                "[channels, height, width]"
            )
        channels = self._source.image_shape[0]
        # A box of an image of any size is resized.
        is_cropped = self._crops and len(image) == channels and image.numel() > 0
        if not is_cropped and tuple(image.shape) != tuple(self._source.image_shape):
            self._source.check_shape(image, what)
        if not is_finite(image):
            raise UserError(f"{what} has pixels that are NaN or infinite; they must be numbers")
        return image

    def _label(self, label: Any, what: str) -> int:
        num_classes = self._source.num_classes
        try:
            value = operator.index(label)
        except TypeError:
            raise UserError(
                f"{what} has the label {label!r}, a {type(label).__name__}; it must be an integer, "
                f"0 to {num_classes - 1}"
            ) from None
        if not 0 <= value < num_classes:
            raise UserError(
                f"{what} has the label {value}; num_classes={num_classes} classes are called 0 to "
                f"{num_classes - 1}"
            )
        return value


def _pair(item: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != len(("image", "label")):
        form = f"{len(item)} things" if isinstance(item, tuple | list) else type(item).__name__
        raise UserError(f"{what}: the data set gave {form}; its items must be pairs (image, label)")
    return item[0], item[1]


def _check_augmentation(source: ImageSource, image: Float[Tensor, "c h w"]) -> None:
    what = f"data set {source.name}: augmentation.augment"
    with theirs(what):
        augmentation = source.augmentation.at_epoch(0)
        draws = uniform_draws(0, np.zeros(1, dtype=np.int64), augmentation.num_draws)
        augmented = augmentation.augment(image[None], torch.from_numpy(draws))
        form = (augmented.dtype, *augmented.shape[:2], augmented.ndim)
    if form != (torch.float32, 1, source.image_shape[0], len("nchw")):
        raise UserError(
            f"{what} made {augmented.dtype} {as_text(augmented.shape)} of an image of "
            f"{as_text(image.shape)}; expected float32 images of as many channels"
        )
    if not is_finite(augmented):
        raise UserError(f"{what} makes pixels that are NaN or infinite; they must be numbers")
