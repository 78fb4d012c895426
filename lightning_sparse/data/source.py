"""What a data set is: `ImageSource`, the one thing that a data configuration builds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_sparse.data.augmentation import AbstractAugmentation, Views


@dataclass(frozen=True, eq=False)
class TensorImages:
    """A data set that fits in memory.

    Attributes:
        images: Normalised images.
        labels: Class of each image, from 0.

    Raises:
        ValueError: If shapes or dtypes are others, or the two lengths differ.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        """Refuse what the loaders would misread."""
        if self.images.ndim != len("nchw") or self.images.dtype != torch.float32:
            raise ValueError(
                f"images are {self.images.dtype} with shape {tuple(self.images.shape)}; "
                "expected float32 [n, c, h, w]"
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError(
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

        The images may be overwritten as soon as the next batch is asked for.

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
    ``data._target_=my_package.build``, where ``build`` returns one of these.

    Attributes:
        name: Names the data set in records; it is part of the training subset's hash.
        train: Training images, not augmented.
        test: Test images.
        num_classes: Number of classes.
        image_shape: Channels, height and width of what the network sees.
        augmentation: Drawn anew for each training image in each epoch.
    """

    name: str
    train: Images
    test: Images
    num_classes: int
    image_shape: tuple[int, int, int]
    augmentation: AbstractAugmentation
