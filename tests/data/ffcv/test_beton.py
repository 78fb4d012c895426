"""What is read, image by image, and which files are refused."""

import itertools
import shutil

import numpy as np
import pytest
import torch

from lightning_sparse.data.image_folder import open_folders
from lightning_sparse.errors import UserError

pytestmark = pytest.mark.usefixtures("ffcv_installed")


@pytest.fixture
def damaged(beton_root, tmp_path):
    """A copy of a file, to be damaged."""
    return shutil.copy(beton_root / "val.beton", tmp_path / "val.beton")


@pytest.fixture
def jpeg_images(image_root, tmp_path):
    from lightning_sparse.data.ffcv.beton import BetonImages
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton

    file = tmp_path / "val.beton"
    samples = open_folders(image_root, "x")[1].samples
    write_beton(
        samples, file, BetonSettings(mode="jpg", jpeg_quality=100), root=image_root, num_workers=1
    )
    return BetonImages(file)


def read(file):
    from lightning_sparse.data.ffcv.beton import BetonImages

    return BetonImages(file)


def whole_images(indices, heights, widths):
    """See all of every image, every second one mirrored."""
    from lightning_sparse.data.augmentation import Views

    zeros = np.zeros_like(heights)
    return Views(np.stack([zeros, zeros, heights, widths], axis=1), indices % 2 == 1)


def test_raw_pixels_are_those_of_the_image_files(beton_root, image_root):
    images = read(beton_root / "val.beton")
    folder = open_folders(image_root, "x")[1]

    for index, (file, label) in enumerate(folder.samples):
        from lightning_sparse.data.decoding import decoded

        assert np.array_equal(images.pixels(index), decoded(file))
        assert images[index][1] == label
    assert len(images) == len(folder.samples) == 11


def test_one_image_and_a_batch_are_decoded_alike(jpeg_images):
    """Boxes of the stored size need no resizing, so pixels are compared bit for bit."""
    smallest = min(min(jpeg_images.pixels(index).shape[:2]) for index in range(4))

    def corner(indices, heights, widths):
        views = whole_images(indices, heights, widths)
        views.boxes[:, 2:] = smallest
        return views

    batches = jpeg_images.read_views([torch.arange(4)], corner, smallest)
    images, labels = next(iter(batches))

    for index in range(4):
        single, label = jpeg_images[index]
        cut = single[:, :smallest, :smallest]
        assert torch.equal(images[index], cut.flip(2) if index % 2 else cut)
        assert labels[index] == label


def test_an_accelerators_batches_travel_as_bytes_and_end_up_the_same(jpeg_images):
    """The decoder of that path, on the CPU: there are no other devices here."""
    from lightning_sparse.data.ffcv import beton
    from lightning_sparse.data.image_folder import normalised_levels

    ours = next(iter(jpeg_images.read_views([torch.arange(4)], whole_images, 64)))[0].clone()
    order = beton._Requests([torch.arange(4)], whole_images)
    levels = np.empty((4, 64, 64, 3), dtype=np.uint8)
    file = np.memmap(jpeg_images._file, np.uint8, mode="r")
    jpeg_images.fill(order[0:4], levels, file)

    assert torch.equal(normalised_levels(torch.from_numpy(levels).permute(0, 3, 1, 2)), ours)


@pytest.mark.gpu
def test_batches_on_the_gpu_are_those_on_the_cpu(jpeg_images):
    def copied(device):
        batches = jpeg_images.read_views(
            torch.split(torch.arange(11), 4), whole_images, 64, device=torch.device(device)
        )
        return [(images.cpu().clone(), labels.cpu()) for images, labels in batches]

    on_cpu, on_gpu = copied("cpu"), copied("cuda:0")

    for (images, labels), (gpu_images, gpu_labels) in zip(on_cpu, on_gpu, strict=True):
        assert torch.allclose(images, gpu_images, atol=1e-6)
        assert torch.equal(labels, gpu_labels)


@pytest.mark.parametrize("num_images", [29, 4])  # 4: FFCV has prepared the last one, and waits
def test_an_abandoned_iteration_leaves_no_thread(beton_root, num_images):
    import threading

    before = threading.active_count()
    images = read(beton_root / "train.beton")
    batches = images.read_views(torch.split(torch.arange(num_images), 1), whole_images, 32)
    next(batches)
    batches.close()
    # FFCV's thread looks every half second whether it is still wanted.
    for thread in set(threading.enumerate()):
        if type(thread).__name__ == "_Epoch":
            thread.join(timeout=60)

    assert threading.active_count() == before


def test_two_iterations_may_run_side_by_side(beton_root):
    images = read(beton_root / "train.beton")
    pieces = torch.split(torch.arange(29), 4)
    alone = [batch.clone() for batch, _ in images.read_views(pieces, whole_images, 32)]

    both = zip(
        images.read_views(pieces, whole_images, 32, num_threads=2),
        images.read_views(pieces, whole_images, 48),
        strict=True,
    )

    for expected, ((small, _), (large, _)) in itertools.zip_longest(alone, both):
        assert torch.equal(small, expected)
        assert large.shape[-1] == 48


def test_an_image_whose_bytes_are_damaged_is_named(jpeg_images):
    row = jpeg_images._rows[5]
    with jpeg_images._file.open("r+b") as stream:
        stream.seek(int(row["data_ptr"]))
        stream.write(b"\0" * 100)

    for attempt in (
        lambda: list(jpeg_images.read_views([torch.arange(11)], whole_images, 32)),
        lambda: jpeg_images[5],
    ):
        with pytest.raises(UserError, match=r"val.beton: image 5 cannot be decoded"):
            attempt()


def test_what_goes_wrong_in_ffcvs_thread_reaches_whoever_waits(beton_root):
    def broken(*_):
        raise ZeroDivisionError

    images = read(beton_root / "val.beton")

    with pytest.raises(ZeroDivisionError):
        list(images.read_views([torch.arange(4)], broken, 32))


@pytest.mark.parametrize("num_bytes", [0, 10, 100, 2000, 10**6, -24, -1])
def test_a_truncated_file_is_refused(damaged, num_bytes):
    content = damaged.read_bytes()
    damaged.write_bytes(content[:num_bytes])

    with pytest.raises(UserError, match=r"val.beton: is (damaged|no .beton).*write it again with"):
        read(damaged)


def test_a_file_that_goes_on_after_its_end_is_refused(damaged):
    with damaged.open("ab") as stream:
        stream.write(b"more")

    with pytest.raises(UserError, match="is damaged or truncated"):
        read(damaged)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "version",
            1,
            r"is a .beton file of version 1, or none at all; FFCV 1.0.2 reads version 2",
        ),
        ("alloc_table_ptr", 0, "its writing was interrupted"),
        ("num_samples", 12, "is damaged or truncated"),
        ("num_fields", 1, "its fields are image; expected"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(damaged, field, value, message):
    from ffcv.types import HeaderType

    header = np.fromfile(damaged, HeaderType, count=1)
    header[field] = value
    with damaged.open("r+b") as stream:
        stream.write(header.tobytes())

    with pytest.raises(UserError, match=message):
        read(damaged)


@pytest.mark.parametrize(
    ("column", "value"), [("sample_id", 3), ("ptr", 10**12), ("size", 10**12), ("size", 3)]
)
def test_a_table_that_points_elsewhere_is_refused(damaged, column, value):
    from ffcv.types import ALLOC_TABLE_TYPE, HeaderType

    start = int(np.fromfile(damaged, HeaderType, count=1)[0]["alloc_table_ptr"])
    table = np.fromfile(damaged, ALLOC_TABLE_TYPE, offset=start)
    table[0][column] = value
    with damaged.open("r+b") as stream:
        stream.seek(start)
        stream.write(table.tobytes())

    with pytest.raises(UserError, match="is damaged or truncated"):
        read(damaged)


def test_any_other_file_is_refused(tmp_path):
    file = tmp_path / "train.beton"
    file.write_bytes(b"\x89PNG and so on, for as long as a header is and longer" * 10)

    with pytest.raises(UserError, match="or none at all"):
        read(file)
