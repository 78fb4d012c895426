"""The 1,797 handwritten digits that scikit-learn carries: real images without a download."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.draws import fixed_permutation
from lightning_sparse.data.source import ImageSource, TensorImages

NUM_TRAIN = 1024
ORIGINAL_SIZE = 8


def build_digits(size: int = ORIGINAL_SIZE) -> ImageSource:
    """Build the digits, split once and for all into 1,024 training and 773 test images.

    Source: the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak
    1998), as scikit-learn distributes it. Normalised by mean and standard deviation of the training
    pixels; augmented by shifts of up to an eighth of the image, filled with background.

    Args:
        size: Height and width in pixels; images are resized to other than 8 (28 for LeNet-5).
    """
    # scikit-learn takes a second to import, and nothing else needs it.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    labels = torch.from_numpy(digits.target).long()
    intensity = torch.from_numpy(digits.images).float()[:, None] / 16
    if size != ORIGINAL_SIZE:
        intensity = F.interpolate(intensity, size=(size, size), mode="bilinear")
    is_train = torch.from_numpy(stratified_split(digits.target, NUM_TRAIN))
    std, mean = torch.std_mean(intensity[is_train])
    images = (intensity - mean) / std
    return ImageSource(
        name="digits" if size == ORIGINAL_SIZE else f"digits{size}",
        train=TensorImages(images[is_train], labels[is_train]),
        test=TensorImages(images[~is_train], labels[~is_train]),
        num_classes=10,
        image_shape=(1, size, size),
        augmentation=RandomShift(max(1, size // ORIGINAL_SIZE), fill=(-mean / std).item()),
    )


def stratified_split(labels: Int64[np.ndarray, " n"], num_train: int) -> Bool[np.ndarray, " n"]:
    """Mark exactly ``num_train`` images for training, from each class its share within one image.

    Systematic sampling: with images sorted by class, shuffled within it, one is taken each time the
    running quota passes an integer.

    Example:
        >>> stratified_split(np.array([0, 1, 0, 1]), 2).sum()
        np.int64(2)
    """
    shuffled = fixed_permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    quota = np.arange(len(labels) + 1) * num_train // len(labels)
    is_train = np.zeros(len(labels), dtype=bool)
    is_train[by_class[np.diff(quota) > 0]] = True
    return is_train
