"""A procedural image set of any size, number of classes and number of images.

For measuring throughput and testing pipelines: learnable, but not by looking at single pixels.
"""

import math
from typing import final

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float32, Float64, Int64
from torch import Tensor
from torch.utils.data import Dataset

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.draws import uniform_draws
from lightning_sparse.data.source import Images, ImageSource, TensorImages

# Test images continue the same sequence far beyond any training set.
FIRST_TEST_INDEX = 2**40
_SHAPE_KEY, _NOISE_KEY = 1, 2
_NOISE_RANGE = 1.0
# Additive recurrences that fill the cube evenly for any number of classes: Roberts (2018), "The
# unreasonable effectiveness of quasirandom sequences"; powers of 1 over the root of x^4 = x + 1.
_RECURRENCE = 1.2207440846057596 ** -np.arange(1.0, 4.0)


def build_synthetic(
    num_classes: int = 10,
    size: int = 32,
    num_train: int = 2048,
    num_test: int = 512,
    *,
    in_memory: bool = True,
) -> ImageSource:
    """Build coloured gratings in noise; see `synthetic_images`.

    Args:
        num_classes: Number of classes.
        size: Height and width in pixels.
        num_train: Training images.
        num_test: Test images.
        in_memory: Whether to make all images at once; otherwise each one when it is asked for.
    """
    return ImageSource(
        name=f"synthetic{size}x{num_classes}",
        train=_images(SyntheticImages(0, num_train, num_classes, size), in_memory=in_memory),
        test=_images(
            SyntheticImages(FIRST_TEST_INDEX, num_test, num_classes, size), in_memory=in_memory
        ),
        num_classes=num_classes,
        image_shape=(3, size, size),
        augmentation=RandomShift(max(1, size // 8)),
    )


def synthetic_images(
    indices: Int64[np.ndarray, " n"], num_classes: int, size: int
) -> Float32[np.ndarray, "n 3 size size"]:
    """Paint the images at these places of the sequence; each depends on its own index alone.

    An image is a grating under a soft round window, in uniform noise. Its class, ``index %
    num_classes``, fixes orientation, frequency and colour; the phase, the place of the window and
    the contrast are drawn. A random phase gives every class the same mean image, so that a linear
    classifier of the pixels gets less than half right where `ConvNet` gets everything. Orientations
    stay in a quarter turn, so that mirroring never turns one class into another.

    Returns:
        Images with mean about 0 and standard deviation about 0.5.
    """
    orientation, frequency, hue = _class_features(indices % num_classes).T
    angle = orientation * math.pi / 2
    # From 1 to size / 4 cycles per image: at least four pixels each, in equal ratios.
    cycles = np.exp(frequency * math.log(max(size / 4, 2.0)))
    phase, row, column, contrast = uniform_draws(_SHAPE_KEY, indices, 4).T

    place = np.linspace(0.0, 1.0, size)
    wave = _along(np.sin(angle) * cycles, place)[:, :, None]
    wave = wave + _along(np.cos(angle) * cycles, place)[:, None, :]
    grating = np.sin(2 * math.pi * (wave + phase[:, None, None]))
    squared = ((place - (0.3 + 0.4 * row)[:, None]) ** 2)[:, :, None]
    squared = squared + ((place - (0.3 + 0.4 * column)[:, None]) ** 2)[:, None, :]
    window = (0.75 + 0.5 * contrast)[:, None, None] * np.exp(-squared / (2 * 0.3**2))

    # Channels a third of a turn apart: the hue is the direction of the grating in colour space.
    colour = np.cos(2 * math.pi * (hue[:, None] - np.arange(3) / 3))
    noise = uniform_draws(_NOISE_KEY, indices, 3 * size * size) - 0.5
    noise = rearrange(noise, "n (c h w) -> n c h w", c=3, h=size)
    painted = colour[:, :, None, None] * (window * grating)[:, None] + _NOISE_RANGE * noise
    images: Float32[np.ndarray, "n 3 size size"] = painted.astype(np.float32)
    return images


@final
class SyntheticImages(Dataset[tuple[Tensor, int]]):
    """A stretch of the sequence as a map-style data set."""

    def __init__(self, first: int, num_images: int, num_classes: int, size: int) -> None:
        """Choose the stretch and the kind of images."""
        self.indices = first + np.arange(num_images)
        self.num_classes = num_classes
        self.size = size

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Paint one image."""
        images = self.painted(slice(index, index + 1))
        return images.images[0], int(images.labels[0])

    def painted(self, part: slice) -> TensorImages:
        """Paint several images at once."""
        indices = self.indices[part]
        return TensorImages(
            torch.from_numpy(synthetic_images(indices, self.num_classes, self.size)),
            torch.from_numpy(indices % self.num_classes),
        )


def _images(dataset: SyntheticImages, *, in_memory: bool) -> Images:
    if not in_memory:
        return dataset
    parts = [dataset.painted(slice(first, first + 256)) for first in range(0, len(dataset), 256)]
    return TensorImages(
        torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    )


def _class_features(labels: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
    features: Float64[np.ndarray, "n 3"] = (0.5 + labels[:, None] * _RECURRENCE) % 1
    return features


def _along(
    factors: Float64[np.ndarray, " n"], place: Float64[np.ndarray, " size"]
) -> Float64[np.ndarray, "n size"]:
    products: Float64[np.ndarray, "n size"] = factors[:, None] * place
    return products
