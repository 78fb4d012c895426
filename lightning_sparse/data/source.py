"""What a data set is: `ImageSource`, the one thing that a data configuration builds."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_sparse.data.augmentation import AbstractAugmentation, Views
from lightning_sparse.errors import UserError, theirs


@dataclass(frozen=True, eq=False)
class TensorImages:
    """A data set that fits in memory.

    Attributes:
        images: Normalised images.
        labels: Class of each image, from 0.

    Raises:
        UserError: If shapes or dtypes are others, or the two lengths differ.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        """Refuse what the loaders would misread."""
        if self.images.ndim != len("nchw") or self.images.dtype != torch.float32:
            raise UserError(
                f"images are {self.images.dtype} with shape {tuple(self.images.shape)}; "
                "expected float32 [n, c, h, w]"
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.int64:
            raise UserError(
                f"labels are {self.labels.dtype} with shape {tuple(self.labels.shape)}; "
                f"expected int64 [{len(self.images)}]"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


@runtime_checkable
class ImageDataset(Protocol):
    """A map-style data set, for example a `torch.utils.data.Dataset` that decodes files.

    Item ``index`` is a normalised float image ``[c, h, w]``, of any size if the source's
    augmentation crops to a fixed one, and its class, from 0.
    """

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        """Return one image and its class."""


# From the indices, heights and widths of some stored images to what is seen of each.
ChooseViews = Callable[
    [Int64[np.ndarray, " b"], Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]], Views
]


@runtime_checkable
class ViewReader(ImageDataset, Protocol):
    """A data set that also reads views of whole batches by itself, faster than image by image.

    Used where the augmentation is a `RandomResizedCropFlip`; which box of which image is seen is
    decided outside, so that it is the same whoever reads.
    """

    def read_views(
        self,
        batches: Sequence[Tensor],
        choose_views: ChooseViews,
        size: int,
        *,
        num_threads: int,
        device: torch.device,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and labels of every batch, in its order, on ``device``.

        Images on the CPU may be overwritten as soon as the next batch is asked for. On an
        accelerator it is asked for while the last one is still in use: there each batch has memory
        of its own, and what makes it is put on the stream that is current when it is asked for.

        Args:
            batches: Indices of the images; all batches but the last are of one size.
            choose_views: Asked once for each batch.
            size: Height and width to which every box is resized, in pixels.
            num_threads: Threads that decode, at least 1.
            device: Where the batches are wanted.
        """


Images = TensorImages | ImageDataset


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSource:
    """A training and a test set, and how training images are varied.

    A data set of your own enters from the command line by
    ``data._target_=my_package.build``, where ``build`` returns one of these. What is in memory is
    looked at here, whole; what is made item by item, when it is asked for
    (`lightning_sparse.data.checks`).

    Attributes:
        name: Names the data set in records; it is part of the training subset's hash.
        train: Training images, not augmented.
        test: Test images.
        num_classes: Number of classes, at least 1.
        image_shape: Channels, height and width of what the network sees.
        augmentation: Drawn anew for each training image in each epoch.
        sha256: Names the contents of the files that it was read from, in records and in the
            training subset's hash; None where its name does.

    Raises:
        UserError: If a set is empty, or images in memory have labels, pixels or a shape that the
            other attributes deny.
    """

    name: str
    train: Images
    test: Images
    num_classes: int
    image_shape: tuple[int, int, int]
    augmentation: AbstractAugmentation
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would end a run later, or make a number that nobody doubts."""
        if type(self.num_classes) is not int or self.num_classes < 1:
            raise UserError(
                f"data set {self.name}: num_classes={self.num_classes}: must be at least 1"
            )
        if len(self.image_shape) != len("chw") or min(self.image_shape) < 1:
            raise UserError(
                f"data set {self.name}: image_shape={self.image_shape}: must be channels, height "
                "and width"
            )
        for kind, images in (("training", self.train), ("test", self.test)):
            if not isinstance(images, TensorImages | ImageDataset):
                raise UserError(
                    f"data set {self.name}: its {kind} set is a {type(images).__name__}; give "
                    "TensorImages, or a data set with __len__ and __getitem__"
                )
            self._check_set(kind, images)

    def sets(self) -> dict[str, Images]:
        """Return both sets by what they are called in messages."""
        return {"training": self.train, "test": self.test}

    def _check_set(self, kind: str, images: Images) -> None:
        with theirs(f"data set {self.name}: length of its {kind} set"):
            is_empty = len(images) == 0
        if is_empty:
            raise UserError(
                f"data set {self.name}: its {kind} set is empty; give it at least one image"
            )
        if isinstance(images, TensorImages):
            check_labels(images.labels, self.num_classes, f"data set {self.name}: {kind} image")
            _check_pixels(images.images, f"data set {self.name}: {kind} image")
            self.check_shape(images.images[0], f"data set {self.name}: {kind} image 0")

    def check_shape(self, image: Float[Tensor, "c h w"], what: str) -> None:
        """Refuse an image that is not of ``image_shape`` when the network sees it.

        Args:
            image: As it is stored, before augmentation.
            what: Names it in the message.
        """
        with theirs(f"{what}: augmentation.plain, given {as_text(image.shape)}"):
            seen = tuple(self.augmentation.plain(image[None]).shape[1:])
        if seen != tuple(self.image_shape):
            raise UserError(
                f"{what} is {as_text(seen)}, but the data set says "
                f"image_shape={as_text(self.image_shape)}; give the images this shape, or "
                "image_shape theirs"
            )


def check_labels(
    labels: Int64[Tensor, " n"] | Int64[np.ndarray, " n"], num_classes: int, what: str
) -> None:
    """Refuse labels that are no class, such as those that a loss function would pass over.

    Args:
        labels: Class of each image.
        num_classes: Number of classes.
        what: Names an image in the message, before its number.

    Raises:
        UserError: With the first such label, and how many there are.
    """
    if int(labels.min()) >= 0 and int(labels.max()) < num_classes:
        return
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    places = torch.as_tensor(np.asarray(wrong)).flatten()
    first = int(places[0])
    others = f", and {len(places) - 1} more are none" if len(places) > 1 else ""
    raise UserError(
        f"{what} {first} has the label {int(labels[first])}{others}; num_classes={num_classes} "
        f"classes are called 0 to {num_classes - 1}"
    )


def is_finite(pixels: Tensor) -> bool:
    """Tell whether all pixels are numbers, in one pass if they are."""
    # A sum may also be too large for a float; then it is worth a closer look.
    return math.isfinite(float(pixels.sum())) or bool(pixels.isfinite().all())


def as_text(shape: Sequence[int]) -> str:
    """Write a shape as in ``3 x 32 x 32``."""
    return " x ".join(str(length) for length in shape)


def _check_pixels(images: Float[Tensor, "n c h w"], what: str) -> None:
    if is_finite(images):
        return
    is_wrong = ~images.flatten(1).isfinite().all(dim=1)
    first = int(is_wrong.nonzero()[0])
    value = images[first][~images[first].isfinite()][0].item()
    others = f", and so have {int(is_wrong.sum()) - 1} more" if is_wrong.sum() > 1 else ""
    raise UserError(
        f"{what} {first} has a pixel that is {value}{others}; pixels must be finite numbers"
    )
