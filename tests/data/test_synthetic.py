import numpy as np
import pytest
import torch

from lightning_sparse.data.synthetic import build_synthetic, synthetic_images


def test_an_image_depends_on_its_index_alone():
    together = synthetic_images(np.arange(40), num_classes=7, size=12)
    alone = synthetic_images(np.array([33]), num_classes=7, size=12)

    assert np.array_equal(together[33], alone[0])


@pytest.mark.parametrize("size", [8, 31])
def test_images_in_memory_are_those_made_one_by_one(size):
    settings = {"num_classes": 3, "size": size, "num_train": 300, "num_test": 5}
    stored = build_synthetic(**settings)
    made = build_synthetic(**settings, in_memory=False)

    for index in (0, 255, 256, 299):
        image, label = made.train[index]
        assert torch.equal(image, stored.train.images[index])
        assert label == stored.train.labels[index] == index % 3
    assert stored.image_shape == (3, size, size) == tuple(stored.test.images.shape[1:])
    assert len(made.test) == len(stored.test) == 5


def test_training_and_test_images_differ():
    source = build_synthetic(num_train=50, num_test=50, size=8)

    assert torch.cdist(source.train.images.flatten(1), source.test.images.flatten(1)).min() > 1


def nearest_mean_accuracy(train, train_labels, test, test_labels):
    means = torch.stack([train[train_labels == label].mean(dim=0) for label in range(10)])
    return (torch.cdist(test, means).argmin(dim=1) == test_labels).double().mean().item()


def spectrum(images):
    """Forget the phase: magnitudes of the products of channels in the Fourier plane."""
    waves = torch.fft.rfft2(images)
    return torch.stack(
        [(waves[:, i] * waves[:, j].conj()).real for i in range(3) for j in range(i, 3)], dim=1
    ).flatten(1)


def test_classes_show_in_the_spectrum_and_less_in_single_pixels():
    source = build_synthetic(num_train=1000, num_test=300)
    (train, labels), (test, test_labels) = (
        (part.images, part.labels) for part in (source.train, source.test)
    )

    by_pixel = nearest_mean_accuracy(train.flatten(1), labels, test.flatten(1), test_labels)
    by_spectrum = nearest_mean_accuracy(spectrum(train), labels, spectrum(test), test_labels)

    assert by_pixel < 0.5
    assert by_spectrum > 0.9


def test_images_are_about_normalised():
    images = synthetic_images(np.arange(200), num_classes=10, size=32)

    assert abs(images.mean()) < 0.02
    assert 0.3 < images.std() < 0.7
