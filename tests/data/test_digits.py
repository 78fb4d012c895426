import hashlib

import numpy as np
import pytest
import torch

from lightning_sparse.data.digits import build_digits, stratified_split


@pytest.fixture(scope="module")
def digits():
    return build_digits()


def test_every_digit_is_in_exactly_one_of_the_two_sets(digits):
    from sklearn.datasets import load_digits

    background = digits.augmentation.fill
    everything = torch.cat([digits.train.images, digits.test.images])
    scale = 16 / (everything.max() - background)
    restored = ((everything - background) * scale).round().flatten(1)

    original = load_digits().data
    assert sorted(map(tuple, restored.tolist())) == sorted(map(tuple, original.tolist()))
    assert (len(digits.train), len(digits.test)) == (1024, 773)


def test_every_class_gives_its_share_within_one_image(digits):
    train, test = digits.train.labels.bincount(), digits.test.labels.bincount()
    share = (train + test) * 1024 / 1797

    assert (train - share).abs().max() <= 1


def test_training_pixels_are_normalised(digits):
    std, mean = torch.std_mean(digits.train.images)

    assert mean.item() == pytest.approx(0, abs=1e-5)
    assert std.item() == pytest.approx(1, abs=1e-5)


def test_the_fill_is_the_background(digits):
    assert digits.augmentation.fill == pytest.approx(digits.train.images.min().item())


def test_the_split_never_changes(digits):
    labels = digits.train.labels.numpy().astype("<i8").tobytes()

    assert hashlib.sha256(labels).hexdigest()[:12] == "9df71cdef06c"


def test_digits_are_resized_for_lenet():
    large = build_digits(28)

    assert large.image_shape == tuple(large.train.images.shape[1:]) == (1, 28, 28)
    assert large.augmentation.max_shift == 3
    assert torch.equal(large.train.labels, build_digits().train.labels)


def test_a_split_takes_the_asked_number_evenly():
    labels = np.repeat([0, 1, 2], [50, 30, 20])

    taken = np.bincount(labels[stratified_split(labels, 40)])

    assert taken.tolist() == [20, 12, 8]
