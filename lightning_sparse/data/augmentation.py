"""Random variations of training images, as pure functions of the image and of uniform draws.

Whoever calls these provides the draws (see `lightning_sparse.data.draws`), keyed by seed, epoch and
sample index; nothing here touches a generator, so nothing depends on workers, ranks or batches.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lightning_sparse.errors import UserError

NUM_CROP_ATTEMPTS = 10
MIRROR_PROBABILITY = 0.5
_SIZE_UNIT = 32


class AbstractAugmentation(ABC):
    """How a training image is varied, and what the network sees of it when it is not.

    Attributes:
        num_draws: Uniform numbers needed per image.
    """

    num_draws: ClassVar[int]

    @abstractmethod
    def augment(
        self, images: Float[Tensor, "b c h w"], draws: Float[Tensor, "b num_draws"]
    ) -> Float[Tensor, "b c out_h out_w"]:
        """Vary each image by its own row of uniform numbers in [0, 1)."""

    @abstractmethod
    def plain(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c out_h out_w"]:
        """Return the images as evaluated: without randomness, in the network's size."""

    @abstractmethod
    def at_epoch(self, epoch: int) -> "AbstractAugmentation":
        """Return the augmentation of one epoch, counted from 0: itself if all are alike."""


@final
@dataclass(frozen=True)
class RandomShift(AbstractAugmentation):
    """Move the image by up to ``max_shift`` pixels along each axis, all shifts equally likely.

    Attributes:
        max_shift: Largest shift, in pixels.
        fill: Value of the pixels that come into view, in units of the normalised image.
    """

    num_draws: ClassVar[int] = 2

    max_shift: int
    fill: float = 0.0

    def augment(
        self, images: Float[Tensor, "b c h w"], draws: Float[Tensor, "b 2"]
    ) -> Float[Tensor, "b c h w"]:
        """Shift each image by its own two draws (rows, columns)."""
        return _shifted(images, draws, padding=self.max_shift, fill=self.fill)

    def plain(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the images as they are."""
        return images

    def at_epoch(self, epoch: int) -> "AbstractAugmentation":
        """Return itself."""
        return self


@final
@dataclass(frozen=True)
class RandomCropFlip(AbstractAugmentation):
    """Pad, crop back to the size at a random place, mirror every second image on average.

    Padding is 0, the mean colour of a normalised image.

    Attributes:
        padding: Pixels added on each side before the crop.
    """

    num_draws: ClassVar[int] = 3

    padding: int

    def augment(
        self, images: Float[Tensor, "b c h w"], draws: Float[Tensor, "b 3"]
    ) -> Float[Tensor, "b c h w"]:
        """Crop by the first two draws and mirror by the third."""
        crops = _shifted(images, draws[:, :2], padding=self.padding, fill=0.0)
        is_mirrored = draws[:, 2] < MIRROR_PROBABILITY
        crops[is_mirrored] = crops[is_mirrored].flip(3)
        return crops

    def plain(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the images as they are."""
        return images

    def at_epoch(self, epoch: int) -> "AbstractAugmentation":
        """Return itself."""
        return self


@dataclass(frozen=True, eq=False)
class Views:
    """What is seen of each image of a batch: a box of it, perhaps mirrored.

    Attributes:
        boxes: First row, first column, height and width, in pixels of the stored image.
        is_mirrored: Whether left and right are exchanged.
    """

    boxes: Int64[np.ndarray, "b 4"]
    is_mirrored: Bool[np.ndarray, " b"]


@final
@dataclass(frozen=True)
class ProgressiveSize:
    """Training images that grow with the epochs: small ones are cheap while much is still to learn.

    The rule of ffcv-imagenet (https://github.com/libffcv/ffcv-imagenet, ``get_resolution``):
    linear between the two epochs, constant outside, rounded to a multiple of 32 pixels.

    Attributes:
        start_size: Height and width up to ``start_epoch``, in pixels.
        end_size: Height and width from ``end_epoch`` on, in pixels.
        start_epoch: Last epoch of the first size.
        end_epoch: First epoch of the last size.

    Raises:
        UserError: If the epochs are not in order or a size is not a multiple of 32.
    """

    start_size: int
    end_size: int
    start_epoch: int
    end_epoch: int

    def __post_init__(self) -> None:
        """Refuse what would not be what was asked for."""
        if not 0 <= self.start_epoch < self.end_epoch:
            raise UserError(
                f"progressive.start_epoch={self.start_epoch}, end_epoch={self.end_epoch}: need "
                "0 <= start_epoch < end_epoch"
            )
        for name, size in (("start_size", self.start_size), ("end_size", self.end_size)):
            if size < _SIZE_UNIT or size % _SIZE_UNIT:
                raise UserError(f"progressive.{name}={size}: must be a multiple of {_SIZE_UNIT}")

    def at_epoch(self, epoch: int) -> int:
        """Return height and width in pixels.

        Example:
            >>> size = ProgressiveSize(160, 192, start_epoch=65, end_epoch=76)
            >>> [size.at_epoch(epoch) for epoch in (0, 70, 71, 76, 87)]
            [160, 160, 192, 192, 192]
        """
        epochs, sizes = (self.start_epoch, self.end_epoch), (self.start_size, self.end_size)
        return round(float(np.interp(epoch, epochs, sizes)) / _SIZE_UNIT) * _SIZE_UNIT


@final
@dataclass(frozen=True)
class RandomResizedCropFlip(AbstractAugmentation):
    """The training view of ImageNet: a random box, resized to a square, mirrored half the time.

    The box is drawn as in torchvision's ``RandomResizedCrop``: up to ten tries of an area and an
    aspect ratio, then the largest central box of an allowed ratio. The evaluation view is that of
    ``Resize`` and ``CenterCrop``, to the pixel. Resizing is bilinear with antialiasing. Readers
    that cut their own boxes take them from `random_views` and `central_views`.

    Attributes:
        size: Height and width of the result, in pixels.
        resize: Length of the shorter side from which `plain` cuts its centre, in pixels.
        min_area: Smallest fraction of the image's area that a box covers.
        max_ratio: Largest width over height of a box; its inverse is the smallest.
        progressive: How the training size grows; None for ``size`` in every epoch.

    Raises:
        UserError: If the centre to be cut is larger than the resized image.
    """

    num_draws: ClassVar[int] = 2 * NUM_CROP_ATTEMPTS + 3

    size: int
    resize: int
    min_area: float = 0.08
    max_ratio: float = 4 / 3
    progressive: ProgressiveSize | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no image could give."""
        if not 0 < self.size <= self.resize:
            raise UserError(
                f"size={self.size}, resize={self.resize}: need 0 < size <= resize, the shorter "
                "side of the image that the centre is cut from"
            )

    def at_epoch(self, epoch: int) -> "RandomResizedCropFlip":
        """Return the augmentation with this epoch's size; evaluation is not touched by it."""
        if self.progressive is None:
            return self
        size = self.progressive.at_epoch(epoch)
        return replace(self, size=size, resize=max(size, self.resize), progressive=None)

    def augment(
        self, images: Float[Tensor, "b c h w"], draws: Float[Tensor, "b 23"]
    ) -> Float[Tensor, "b c size size"]:
        """Cut each image's box and resize it."""
        heights, widths = (np.full(len(images), length) for length in images.shape[2:])
        views = self.random_views(heights, widths, draws.numpy())
        results = []
        for image, box, is_mirrored in zip(
            torch.split(images, 1), views.boxes.tolist(), views.is_mirrored, strict=True
        ):
            top, left, height, width = box
            cut = image[:, :, top : top + height, left : left + width]
            resized = _resized(cut, self.size, self.size)
            results.append(resized.flip(3) if is_mirrored else resized)
        return torch.cat(results)

    def plain(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c size size"]:
        """Resize the shorter side and cut the centre.

        Of an image much longer than wide only the middle is resized: that of 1 x 3,000 pixels would
        become one of 256 x 768,000 first, in 2.8 GB.
        """
        images = _middle(images)
        height, width = images.shape[2:]
        shorter = min(height, width)
        resized = _resized(images, height * self.resize // shorter, width * self.resize // shorter)
        top, left = (round((length - self.size) / 2) for length in resized.shape[2:])
        return resized[:, :, top : top + self.size, left : left + self.size]

    def random_views(
        self,
        heights: Int64[np.ndarray, " b"],
        widths: Int64[np.ndarray, " b"],
        draws: Float64[np.ndarray, "b 23"],
    ) -> Views:
        """Draw what is seen of training images of these sizes, each by its own row of draws."""
        box_heights, box_widths, fitted = self._box_sizes(heights, widths, draws[:, :-3])
        tops, lefts = (
            np.where(fitted, (draw * (room + 1)).astype(np.int64), room // 2)
            for draw, room in (
                (draws[:, -3], heights - box_heights),
                (draws[:, -2], widths - box_widths),
            )
        )
        boxes = np.stack([tops, lefts, box_heights, box_widths], axis=1)
        return Views(boxes, draws[:, -1] < MIRROR_PROBABILITY)

    def central_views(
        self, heights: Int64[np.ndarray, " b"], widths: Int64[np.ndarray, " b"]
    ) -> Views:
        """Return what `plain` cuts out, to the nearest pixel of the image before resizing."""
        shorter = np.minimum(heights, widths)
        tops, bottoms = self._central_span(heights, shorter)
        lefts, rights = self._central_span(widths, shorter)
        boxes = np.stack([tops, lefts, bottoms - tops, rights - lefts], axis=1)
        return Views(boxes, np.zeros(len(boxes), dtype=bool))

    def _central_span(
        self, lengths: Int64[np.ndarray, " b"], shorter: Int64[np.ndarray, " b"]
    ) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]]:
        """Follow the ends of the central cut back through the resizing of one axis."""
        resized = lengths * self.resize // shorter
        # To even numbers at one half, as Python's round and so torchvision's CenterCrop.
        first = np.rint((resized - self.size) / 2)
        start, stop = (
            np.rint(place * lengths / resized).astype(np.int64)
            for place in (first, first + self.size)
        )
        # At least one pixel, of an image much longer than wide.
        start = np.minimum(start, lengths - 1)
        return start, np.maximum(stop, start + 1)

    def _box_sizes(
        self,
        heights: Int64[np.ndarray, " b"],
        widths: Int64[np.ndarray, " b"],
        draws: Float64[np.ndarray, "b 20"],
    ) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"], Bool[np.ndarray, " b"]]:
        """Return heights and widths, and whether one of the tries fitted."""
        areas = (heights * widths)[:, None] * (self.min_area + (1 - self.min_area) * draws[:, 0::2])
        ratios = np.exp(np.log(self.max_ratio) * (2 * draws[:, 1::2] - 1))
        tried_widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
        tried_heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
        fits = (tried_widths > 0) & (tried_widths <= widths[:, None])
        fits &= (tried_heights > 0) & (tried_heights <= heights[:, None])
        rows, first = np.arange(len(draws)), fits.argmax(axis=1)
        # Of the allowed ratio that comes closest to the image's own.
        central_heights = np.minimum(heights, np.rint(widths * self.max_ratio).astype(np.int64))
        central_widths = np.minimum(widths, np.rint(heights * self.max_ratio).astype(np.int64))
        fitted = fits.any(axis=1)
        return (
            np.where(fitted, tried_heights[rows, first], central_heights),
            np.where(fitted, tried_widths[rows, first], central_widths),
            fitted,
        )


def _middle(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c new_h new_w"]:
    """Cut off equally much on both sides of what is longer than `_LONGEST` times its width."""
    longest = _LONGEST * min(images.shape[2:])
    top, left = (max(0, (length - longest) // 2) for length in images.shape[2:])
    height, width = images.shape[2:]
    return images[:, :, top : height - top, left : width - left]


_LONGEST = 16


def _resized(images: Float[Tensor, "b c h w"], height: int, width: int) -> Tensor:
    return F.interpolate(
        images, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


def _shifted(
    images: Float[Tensor, "b c h w"], draws: Float[Tensor, "b 2"], *, padding: int, fill: float
) -> Float[Tensor, "b c h w"]:
    height, width = images.shape[2:]
    offsets: Int64[Tensor, "2 b"] = (draws.T * (2 * padding + 1)).long()
    padded = F.pad(images, (padding, padding, padding, padding), value=fill)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images)), :, offsets[0], offsets[1]]
