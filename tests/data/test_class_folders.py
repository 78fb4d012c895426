"""Folders with more in them than classes and images."""

import warnings

import pytest
from torchvision.datasets import ImageFolder

from lightning_sparse.data.class_folders import list_class_folders
from lightning_sparse.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Two classes, one with folders inside whose names sort otherwise than their paths."""
    for name in ("cat/1.JPEG", "cat/0.png", "cat/b/2.jpg", "cat/b-a/3.jpg", "dog/a.JPEG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cat" / "notes.txt").touch()
    return tmp_path


def test_the_order_is_that_of_torchvision(root):
    expected, listed = ImageFolder(root), list_class_folders(root)

    assert listed.classes == expected.classes == ["cat", "dog"]
    assert listed.samples == expected.samples
    assert len(listed) == 5


def test_hidden_names_are_neither_classes_nor_images_and_a_warning_says_so(root):
    before = list_class_folders(root)
    for name in (".ipynb_checkpoints/0-checkpoint.png", "cat/.trash/9.jpg", "cat/._1.JPEG"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()

    with pytest.warns(UserWarning, match=r"left out.*hidden: .*\.ipynb_checkpoints, .*_1.JPEG"):
        listed = list_class_folders(root)
    assert (listed.classes, listed.samples) == (before.classes, before.samples)


def test_hidden_files_that_are_no_images_are_not_worth_a_word(root):
    (root / ".DS_Store").touch()
    (root / "cat" / ".DS_Store").touch()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list_class_folders(root).classes == ["cat", "dog"]


def test_links_that_lead_round_in_circles_multiply_no_image(root):
    before = list_class_folders(root).samples
    (root / "cat" / "again").symlink_to("../cat")
    (root / "cat" / "b" / "above").symlink_to("../../cat")
    (root / "dog" / "itself").symlink_to("itself")

    assert list_class_folders(root).samples == before


def test_links_to_other_folders_are_followed(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "z.JPEG").touch()
    (root / "wolf").symlink_to(elsewhere)

    assert list_class_folders(root).samples[-1] == (str(root / "wolf" / "z.JPEG"), 2)


def test_a_folder_that_may_not_be_read_is_named(as_stranger):
    root = as_stranger.folder
    for name in ("cat", "dog/inside"):
        (root / name).mkdir(parents=True)
        (root / name / "a.JPEG").touch()
    (root / "dog" / "inside").chmod(0)

    with as_stranger(), pytest.raises(UserError, match=r"dog/inside: .*\(Permission denied\)"):
        list_class_folders(root)


def test_names_that_are_not_utf_8_are_listed(root):
    (root / "chi\udce9n").mkdir()
    (root / "chi\udce9n" / "a.JPEG").touch()

    assert list_class_folders(root).classes == ["cat", "chi\udce9n", "dog"]
