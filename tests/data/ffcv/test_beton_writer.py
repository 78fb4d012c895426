import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lightning_sparse.data.decoding import decoded
from lightning_sparse.data.image_folder import open_folders
from lightning_sparse.errors import UserError

pytestmark = pytest.mark.usefixtures("ffcv_installed")


@pytest.fixture
def root(image_root, tmp_path):
    """A copy of the images, to be damaged."""
    return shutil.copytree(image_root, tmp_path / "imagenet")


def write(root, file, *, num_workers=2, skip_corrupt=False, **settings):
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton

    return write_beton(
        open_folders(root, "imagenet")[0].samples,
        file,
        BetonSettings(**settings),
        root=root,
        num_workers=num_workers,
        skip_corrupt=skip_corrupt,
    )


def read(file):
    from lightning_sparse.data.ffcv.beton import BetonImages

    return BetonImages(file)


def assert_nothing_left(folder):
    assert list(folder.iterdir()) == []
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("mode", ["jpg", "raw", "proportion"])
def test_images_keep_their_order_labels_and_looks(root, tmp_path, mode):
    file = tmp_path / "out" / "train.beton"

    assert write(root, file, mode=mode, max_resolution=180) == []

    images, samples = read(file), open_folders(root, "x")[0].samples
    assert images.labels.tolist() == [label for _, label in samples]
    for index, (source, _) in enumerate(samples):
        pixels, original = images.pixels(index), decoded(source)
        assert max(pixels.shape[:2]) == min(180, max(original.shape[:2]))
        assert np.abs(pixels.mean(axis=(0, 1)) - original.mean(axis=(0, 1))).max() < 3
    assert {0, 1} >= set(images._rows["mode"].tolist()) != set()
    assert (len(set(images._rows["mode"].tolist())) == 2) == (mode == "proportion")


def test_which_images_are_compressed_does_not_change_with_the_workers(root, tmp_path):
    modes = []
    for num_workers in (1, 3):
        file = tmp_path / f"{num_workers}.beton"
        write(root, file, num_workers=num_workers, mode="proportion")
        modes.append(read(file)._rows["mode"].tolist())

    assert modes[0] == modes[1]


def test_a_corrupt_image_is_named_and_nothing_is_left(root, tmp_path):
    damaged = root / "train" / "n00000001" / "013.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:-2000])

    with pytest.raises(UserError, match=rf"{damaged}: cannot be decoded.*skip_corrupt=true"):
        write(root, tmp_path / "out" / "train.beton")
    assert_nothing_left(tmp_path / "out")


def test_corrupt_images_are_counted_listed_and_left_out(root, tmp_path):
    names = ["train/n00000000/000.JPEG", "train/n00000002/014.JPEG"]
    (root / names[0]).write_bytes(b"")
    (root / names[1]).write_text("not an image")
    file = tmp_path / "train.beton"

    assert write(root, file, skip_corrupt=True) == names

    expected = [
        label
        for source, label in open_folders(root, "x")[0].samples
        if not source.endswith(("/000.JPEG", "/014.JPEG"))
    ]
    assert read(file).labels.tolist() == expected
    note = json.loads((tmp_path / "train.beton.json").read_text())
    assert (note["num_images"], note["skipped"]) == (27, names)


def test_an_image_that_cannot_be_used_is_not_left_out_as_corrupt(root, tmp_path):
    odd = root / "train" / "n00000001" / "013.JPEG"
    Image.fromarray(np.full((8, 8), 2.0, np.float32)).save(odd, "TIFF")

    with pytest.raises(UserError, match=rf"{odd}: has floating-point levels .* save it") as caught:
        write(root, tmp_path / "out" / "train.beton", skip_corrupt=True)
    assert "skip_corrupt" not in str(caught.value)
    assert_nothing_left(tmp_path / "out")


@pytest.mark.parametrize(("height", "width"), [(1, 600), (600, 1), (2, 2000)])
def test_an_image_that_is_very_thin_keeps_a_row(root, tmp_path, height, width):
    thin = root / "train" / "n00000001" / "013.JPEG"
    row = np.linspace(0, 255, height * width).astype(np.uint8).reshape(height, width)
    Image.fromarray(row).save(thin, quality=95)
    file = tmp_path / "train.beton"

    write(root, file, max_resolution=100)

    names = [source for source, _ in open_folders(root, "x")[0].samples]
    pixels = read(file).pixels(names.index(str(thin)))
    assert sorted(pixels.shape[:2]) == [1, 100]
    assert np.abs(np.diff(pixels[:, :, 0].flatten().astype(int)) - 255 / 99).max() < 4


def test_nothing_but_corrupt_images_is_no_data_set(root, tmp_path):
    for file in root.glob("train/*/*"):
        file.write_bytes(b"")

    with pytest.raises(UserError, match="every image is corrupt"):
        write(root, tmp_path / "out" / "train.beton", skip_corrupt=True)
    assert_nothing_left(tmp_path / "out")


def test_too_small_a_disk_is_told_before_anything_is_written(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))

    with pytest.raises(UserError, match=r"train.beton needs about 0.0 GB, and 0.0 GB are free"):
        write(root, tmp_path / "out" / "train.beton")
    assert_nothing_left(tmp_path / "out")


def in_a_moment(act):
    """Act when the writing processes are at work."""

    def wait_and_act():
        deadline = time.monotonic() + 120
        while not multiprocessing.active_children() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        act()

    threading.Thread(target=wait_and_act, daemon=True).start()


@pytest.fixture
def slowly(monkeypatch):
    """Make every image take a while, so that there is something to interrupt."""

    def slow(file):
        time.sleep(0.3)
        return decoded(file)

    monkeypatch.setattr("lightning_sparse.data.ffcv.beton_writer.decoded", slow)
    monkeypatch.setattr("lightning_sparse.data.ffcv.beton_writer._NUM_SAMPLED", 1)


@pytest.fixture
def ctrl_c_ignored():
    """Be as what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("slowly")
def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing_else(root, tmp_path):
    file = tmp_path / "out" / "train.beton"
    file.parent.mkdir()
    file.write_bytes(b"old")
    in_a_moment(lambda: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        write(root, file)
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("slowly", "ctrl_c_ignored")
def test_a_process_that_dies_ends_the_writing_instead_of_holding_it_up_for_ever(root, tmp_path):
    def kill_one():
        multiprocessing.active_children()[0].kill()

    in_a_moment(kill_one)

    with pytest.raises(UserError, match=r"a process that encodes images ended with status -9"):
        write(root, tmp_path / "out" / "train.beton")
    assert_nothing_left(tmp_path / "out")


def test_what_was_written_is_read_back_and_compared(root, tmp_path):
    from lightning_sparse.data.ffcv import beton_writer

    samples = open_folders(root, "x")[0].samples
    file = tmp_path / "train.beton"
    write(root, file)
    settings = beton_writer.BetonSettings()

    beton_writer._check_written(samples, file, settings)
    for wrong in ([*samples[1:], samples[0]], samples[:-1], [(samples[1][0], 0), *samples[1:]]):
        with pytest.raises(UserError, match=r"does not hold the images|is not that of"):
            beton_writer._check_written(wrong, file, settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "png"}, "mode=png: choose one of jpg, raw, proportion"),
        ({"max_resolution": 0}, "max_resolution=0: must be from 1 to 8192"),
        ({"jpeg_quality": 101}, "jpeg_quality=101: must be from 1 to 100"),
        ({"compress_probability": 1.5}, "compress_probability=1.5: must lie in"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings

    with pytest.raises(UserError, match=message):
        BetonSettings(**setting)


def test_a_page_holds_the_largest_image_that_may_come():
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings

    assert BetonSettings(max_resolution=500).page_size() == 2**23
    assert BetonSettings(max_resolution=2000).page_size() == 2**24 >= 3 * 2000**2
