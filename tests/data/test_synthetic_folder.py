import json

import numpy as np
import pytest

from lightning_sparse.data.decoding import decoded
from lightning_sparse.data.image_folder import open_folders
from lightning_sparse.data.synthetic_folder import write_synthetic_folder
from lightning_sparse.errors import UserError


def paint(root, **changes):
    settings = {"num_classes": 3, "num_train": 20, "num_val": 7, "size": 24, "num_workers": 1}
    write_synthetic_folder(root, **{**settings, **changes})


def test_the_folder_has_imagenets_layout_and_the_asked_size(tmp_path):
    paint(tmp_path / "images")

    train, val = open_folders(tmp_path / "images", "x")
    assert (len(train), len(val), train.classes) == (20, 7, [f"n{n:08d}" for n in range(3)])
    assert decoded(train.samples[0][0]).shape == (24, 24, 3)
    assert 100 < np.mean([decoded(file).mean() for file, _ in train.samples]) < 156


def test_no_validation_image_is_a_training_image(tmp_path):
    paint(tmp_path / "images")

    files = [*(tmp_path / "images").glob("*/*/*.JPEG")]
    assert len({file.read_bytes() for file in files}) == 27


def test_processes_paint_the_same_images(tmp_path):
    paint(tmp_path / "one")
    paint(tmp_path / "two", num_workers=2)

    one, two = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*.JPEG")}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


def test_what_is_there_is_not_painted_again(tmp_path):
    paint(tmp_path / "images")
    (tmp_path / "images" / "train" / "n00000000" / "mark").touch()

    paint(tmp_path / "images")

    assert (tmp_path / "images" / "train" / "n00000000" / "mark").is_file()


def test_another_folder_is_left_alone(tmp_path):
    paint(tmp_path / "images")

    with pytest.raises(UserError, match=r"images: holds something else; remove it"):
        paint(tmp_path / "images", num_train=21)
    assert json.loads((tmp_path / "images" / "synthetic.json").read_text())["num_train"] == 20


def test_a_class_without_an_image_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"num_train=20, num_val=2: must both be at least"):
        paint(tmp_path / "images", num_val=2)
    assert list(tmp_path.iterdir()) == []
