"""Random variations of training images, as pure functions of the image and of uniform draws.

Whoever calls these provides the draws (see `lightning_sparse.data.draws`), keyed by seed, epoch and
sample index; nothing here touches a generator, so nothing depends on workers, ranks or batches.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

NUM_CROP_ATTEMPTS = 10
MIRROR_PROBABILITY = 0.5


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


@final
@dataclass(frozen=True)
class RandomResizedCropFlip(AbstractAugmentation):
    """The training view of ImageNet: a random box, resized to a square, mirrored half the time.

    The box is drawn as in torchvision's ``RandomResizedCrop``: up to ten tries of an area and an
    aspect ratio, then the largest central box of an allowed ratio. Resizing is bilinear with
    antialiasing.

    Attributes:
        size: Height and width of the result, in pixels.
        resize: Length of the shorter side from which `plain` cuts its centre, in pixels.
        min_area: Smallest fraction of the image's area that a box covers.
        max_ratio: Largest width over height of a box; its inverse is the smallest.
    """

    num_draws: ClassVar[int] = 2 * NUM_CROP_ATTEMPTS + 3

    size: int
    resize: int
    min_area: float = 0.08
    max_ratio: float = 4 / 3

    def augment(
        self, images: Float[Tensor, "b c h w"], draws: Float[Tensor, "b 23"]
    ) -> Float[Tensor, "b c size size"]:
        """Cut each image's box and resize it."""
        return torch.cat(
            [
                self._augment_one(image, row.tolist())
                for image, row in zip(torch.split(images, 1), draws, strict=True)
            ]
        )

    def plain(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c size size"]:
        """Resize the shorter side and cut the centre."""
        height, width = images.shape[2:]
        scale = self.resize / min(height, width)
        resized = _resized(images, int(height * scale), int(width * scale))
        top, left = ((length - self.size) // 2 for length in resized.shape[2:])
        return resized[:, :, top : top + self.size, left : left + self.size]

    def _augment_one(self, image: Tensor, draws: list[float]) -> Tensor:
        *box_draws, row_draw, column_draw, mirror_draw = draws
        image_height, image_width = image.shape[2:]
        height, width = self._box_size(image_height, image_width, box_draws)
        top = int(row_draw * (image_height - height + 1))
        left = int(column_draw * (image_width - width + 1))
        box = image[:, :, top : top + height, left : left + width]
        resized = _resized(box, self.size, self.size)
        return resized.flip(3) if mirror_draw < MIRROR_PROBABILITY else resized

    def _box_size(self, image_height: int, image_width: int, draws: list[float]) -> tuple[int, int]:
        area = image_height * image_width
        for area_draw, ratio_draw in zip(draws[::2], draws[1::2], strict=True):
            box_area = area * (self.min_area + (1 - self.min_area) * area_draw)
            ratio = math.exp(math.log(self.max_ratio) * (2 * ratio_draw - 1))
            width, height = round(math.sqrt(box_area * ratio)), round(math.sqrt(box_area / ratio))
            if 0 < width <= image_width and 0 < height <= image_height:
                return height, width
        return (
            min(image_height, round(image_width * self.max_ratio)),
            min(image_width, round(image_height * self.max_ratio)),
        )


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
