import gzip
import hashlib

import numpy as np
import pytest
import torch
from torchvision.datasets.mnist import read_image_file, read_label_file

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.idx_folder import build_idx_folder, read_idx
from lightning_sparse.errors import UserError
from tests.data.idx import FILES, idx_bytes, write_idx_folder

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.fixture
def folder(tmp_path):
    write_idx_folder(tmp_path / "set")
    return tmp_path / "set"


def test_images_are_those_of_the_files_normalised_by_the_training_pixels(tmp_path):
    arrays = write_idx_folder(tmp_path / "set")

    source = build_idx_folder(tmp_path / "set", max_shift=1)

    levels = arrays[IMAGES].astype(np.float64)
    mean, std = levels.mean(), levels.std(ddof=1)
    for images, name in ((source.train, IMAGES), (source.test, TEST_IMAGES)):
        expected = torch.from_numpy((arrays[name] - mean) / std).float()[:, None]
        torch.testing.assert_close(images.images, expected)
    assert source.train.labels.tolist() == arrays[LABELS].tolist()
    assert source.test.labels.tolist() == arrays[TEST_LABELS].tolist()
    assert (source.name, source.num_classes, source.image_shape) == ("set", 3, (1, 6, 5))
    assert isinstance(source.augmentation, RandomShift)
    assert source.augmentation.max_shift == 1
    # Black, whatever the mean.
    assert source.augmentation.fill == pytest.approx(-mean / std)


def test_torchvision_reads_the_same(folder):
    images, labels = (read_idx(folder / name, n) for name, n in ((IMAGES, 3), (LABELS, 1)))

    assert torch.equal(torch.from_numpy(images.entries), read_image_file(folder / IMAGES))
    assert labels.entries.tolist() == read_label_file(folder / LABELS).tolist()


def test_compressed_files_give_the_same_set_and_hash(folder, tmp_path):
    write_idx_folder(tmp_path / "other", compressed=[IMAGES, TEST_LABELS])

    plain, compressed = build_idx_folder(folder), build_idx_folder(tmp_path / "other")

    assert torch.equal(plain.train.images, compressed.train.images)
    assert plain.sha256 == compressed.sha256
    parts = "".join(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES)
    assert plain.sha256 == hashlib.sha256(parts.encode()).hexdigest()


def test_other_contents_are_another_set_in_records(folder):
    def data():
        return ImageDataModule(build_idx_folder(folder), batch_size=2, seed=1)

    before = data()
    (folder / TEST_LABELS).write_bytes(idx_bytes(np.array([0, 0, 0, 0], dtype=np.uint8)))
    after = data()

    assert before.provenance == {"data": {"name": "set", "sha256": before.source.sha256}}
    assert after.provenance != before.provenance
    assert after.train_subset_hash != before.train_subset_hash


def test_a_set_is_read_once_in_a_process(folder):
    source = build_idx_folder(folder)

    assert build_idx_folder(folder) is source
    assert build_idx_folder(folder, max_shift=1) is not source


def test_one_set_of_several_in_a_folder_is_chosen_by_its_prefix(tmp_path):
    write_idx_folder(tmp_path / "emnist", "emnist-digits-")
    # EMNIST calls its test files so.
    for file in (tmp_path / "emnist").glob("*t10k*"):
        file.rename(file.with_name(file.name.replace("t10k", "test")))

    source = build_idx_folder(tmp_path / "emnist", prefix="emnist-digits-", num_classes=10)

    assert (source.name, len(source.test), source.num_classes) == ("emnist/emnist-digits-", 4, 10)


def test_a_missing_folder_is_one_line_that_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=rf"no train-images.* in {tmp_path}/none: .*data-fashion"):
        build_idx_folder(tmp_path / "none")


LEVELS = np.zeros((12, 6, 5), dtype=np.uint8)

DAMAGED = {
    "truncated": (IMAGES, idx_bytes(LEVELS)[:-1], r"says 12 x 6 x 5 bytes, and 359 follow"),
    "too long": (IMAGES, idx_bytes(LEVELS) + b"\0", r"and 361 follow"),
    "no header": (IMAGES, b"<html>404", r"begins with 3c68746d; .* begins with 00000803"),
    "header cut": (IMAGES, idx_bytes(LEVELS)[:9], r"begins with 00000803; .* and its lengths"),
    "empty": (LABELS, b"", r"begins with nothing; .* begins with 00000801"),
    "labels for images": (IMAGES, idx_bytes(LEVELS[:, 0, 0]), r"begins with 00000801; .*00000803"),
    "other type": (LABELS, idx_bytes(LEVELS[:, 0, 0], kind=13), r"begins with 00000d01"),
    "fewer labels": (LABELS, idx_bytes(LEVELS[1:, 0, 0]), r"12 images and .* 11 labels; they"),
    "test size": (TEST_IMAGES, idx_bytes(LEVELS[:4, :, :4]), r"6 x 5 and .* of 6 x 4; give both"),
    "no images": (TEST_IMAGES, idx_bytes(LEVELS[:0]), r"0 images and .* 4 labels"),
    "no pixels": (IMAGES, idx_bytes(LEVELS[:, :0]), r"holds no pixels"),
    "alike": (IMAGES, idx_bytes(LEVELS), r"all pixels are alike"),
    "unknown class": (TEST_LABELS, idx_bytes(LEVELS[:4, 0, 0] + 7), r"label 7.*called 0 to 2"),
}


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_file_that_is_none_or_does_not_fit_is_named(folder, name, content, said):
    (folder / name).write_bytes(content)

    with pytest.raises(UserError, match=said) as caught:
        build_idx_folder(folder)

    assert name in str(caught.value) or "test image" in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[:20], lambda _: b"no gzip", lambda _: b""])
def test_a_damaged_archive_is_named(folder, damage):
    (folder / LABELS).unlink()
    data = gzip.compress(idx_bytes(LEVELS[:, 0, 0]))
    (folder / f"{LABELS}.gz").write_bytes(damage(data))

    with pytest.raises(UserError, match=rf"{LABELS}\.gz: (cannot be decompressed|begins with no)"):
        build_idx_folder(folder)


def test_a_file_that_may_not_be_read_is_named(as_stranger):
    write_idx_folder(as_stranger.folder)
    (as_stranger.folder / LABELS).chmod(0)

    with as_stranger(), pytest.raises(UserError, match=rf"{LABELS}: cannot be read"):
        build_idx_folder(as_stranger.folder)
