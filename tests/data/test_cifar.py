import hashlib
import pickle

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from lightning_sparse.data.augmentation import RandomCropFlip
from lightning_sparse.data.cifar import build_cifar10, build_cifar100
from lightning_sparse.errors import UserError

CASES = [
    (CIFAR10, build_cifar10, "labels", "label_names", 10),
    (CIFAR100, build_cifar100, "fine_labels", "fine_label_names", 100),
]


def write_cifar(root, case, monkeypatch):
    """Write files of the authors' format, six images each, and publish their hashes."""
    dataset_type, _, label_key, names_key, num_classes = case
    folder = root / dataset_type.base_folder
    folder.mkdir()
    generator = np.random.default_rng(1)

    def publish(file_name, content):
        data = pickle.dumps(content)
        (folder / file_name).write_bytes(data)
        return hashlib.md5(data).hexdigest()  # noqa: S324 (what the format uses)

    for lists in ("train_list", "test_list"):
        published = []
        for file_name, _ in getattr(dataset_type, lists):
            content = {
                "data": generator.integers(0, 256, (6, 3072), dtype=np.uint8),
                label_key: generator.integers(0, num_classes, 6).tolist(),
            }
            published.append([file_name, publish(file_name, content)])
        monkeypatch.setattr(dataset_type, lists, published)
    names = {names_key: [f"class {label}" for label in range(num_classes)]}
    meta = dataset_type.meta
    monkeypatch.setattr(dataset_type, "meta", {**meta, "md5": publish(meta["filename"], names)})
    return folder


@pytest.mark.parametrize("case", CASES, ids=["cifar10", "cifar100"])
def test_images_and_labels_are_those_of_the_files(tmp_path, monkeypatch, case):
    dataset_type, build, label_key, _, num_classes = case
    folder = write_cifar(tmp_path, case, monkeypatch)

    source = build(tmp_path)

    with (folder / dataset_type.train_list[0][0]).open("rb") as file:
        first = pickle.load(file)  # noqa: S301 (written above)
    images = source.train.images
    expected = torch.from_numpy(first["data"].reshape(6, 3, 32, 32)).float()
    assert source.train.labels[:6].tolist() == first[label_key]
    # Normalisation is one line per channel, the same for all images.
    for channel in range(3):
        slope = np.polyfit(expected[:, channel].flatten(), images[:6, channel].flatten(), 1)
        fitted = np.polyval(slope, expected[:, channel])
        assert np.abs(fitted - images[:6, channel].numpy()).max() < 1e-4
    assert len(source.test) == 6
    assert source.num_classes == num_classes
    assert source.image_shape == (3, 32, 32)
    assert source.augmentation == RandomCropFlip(padding=4)


def test_training_pixels_are_normalised_per_channel(tmp_path, monkeypatch):
    write_cifar(tmp_path, CASES[0], monkeypatch)

    std, mean = torch.std_mean(build_cifar10(tmp_path).train.images, dim=(0, 2, 3))

    assert torch.allclose(mean, torch.zeros(3), atol=1e-5)
    assert torch.allclose(std, torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("build", [build_cifar10, build_cifar100])
def test_missing_files_are_named_with_the_remedy(tmp_path, build):
    with pytest.raises(UserError, match=rf"missing: looked in {tmp_path}/cifar.*download https"):
        build(tmp_path)


def test_a_damaged_file_is_never_unpickled(tmp_path, monkeypatch):
    folder = write_cifar(tmp_path, CASES[0], monkeypatch)
    (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    with pytest.raises(UserError, match="incomplete or damaged"):
        build_cifar10(tmp_path)


def test_files_that_may_not_be_read_are_named(as_stranger, monkeypatch):
    write_cifar(as_stranger.folder, CASES[0], monkeypatch)
    (as_stranger.folder / CIFAR10.base_folder / "data_batch_3").chmod(0)

    with as_stranger(), pytest.raises(UserError, match=r"cifar10 cannot be read: .*data_batch_3: "):
        build_cifar10(as_stranger.folder)
