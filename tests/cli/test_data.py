"""The commands that write data, and a curve between networks trained on what they wrote."""

import importlib.util
import os
import shutil

import pytest

from lightning_sparse.cli.main import main


@pytest.fixture
def without_ffcv(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A small procedural set, painted and written through the command line."""
    if importlib.util.find_spec("ffcv") is None:
        if os.environ.get("CI"):
            pytest.fail("no FFCV, and set-up did not install it")
        pytest.skip("no FFCV: make setup")
    folder = tmp_path_factory.mktemp("synthetic")
    sizes = ("num_train=160", "num_val=20", "size=40", "num_classes=3", "num_workers=1")
    assert main(["data-synthetic", f"images={folder}/images", f"out={folder}", *sizes]) == 0
    return folder


@pytest.mark.pipeline
@pytest.mark.filterwarnings("ignore:FFCV is not installed")
def test_a_path_is_trained_on_what_was_written(synthetic, tmp_path, capsys):
    words = (
        "experiment=smoke", "data=imagenet_ffcv", f"data.root={synthetic}", "data.size=32",
        "data.resize=36", "num_workers=1", f"runs_dir={tmp_path}", "training.num_steps=9",
    )  # fmt: skip

    assert main(["path", "path.start=scratch:end", "path.end=prune:end", *words]) == 0
    assert "largest rise of the training loss" in capsys.readouterr().out


def test_an_image_folder_becomes_files_that_are_told_of(synthetic, tmp_path, capsys):
    assert main(["data-imagenet", f"imagenet={synthetic}/images", f"out={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path}/train.beton: 160 images of 3 classes" in shown
    assert f"{tmp_path}/val.beton: 20 images of 3 classes" in shown


@pytest.mark.parametrize("words", [("data-imagenet", "imagenet"), ("data-synthetic", "images")])
def test_a_place_that_cannot_be_written_is_one_line(synthetic, tmp_path, capsys, words):
    verb, field = words
    (tmp_path / "file").touch()
    place = f"{tmp_path}/file/inside"
    source = f"{synthetic}/images" if verb == "data-imagenet" else place

    assert main([verb, f"{field}={source}", f"out={place}", "num_workers=1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path}/file")
    assert "Not a directory; name another place with " in error


def test_left_out_images_are_listed_whatever_they_are_called(synthetic, tmp_path, capsys):
    images = shutil.copytree(synthetic / "images", tmp_path / "images")
    (images / "train" / "n00000000" / "caf\udce9.JPEG").write_bytes(b"")
    words = ("data-imagenet", f"imagenet={images}", f"out={tmp_path}", "num_workers=1")

    assert main([*words, "skip_corrupt=true"]) == 0
    shown = capsys.readouterr().out
    assert r"train/n00000000/caf\udce9.JPEG" in shown
    assert main(list(words)) == 2
    assert r"caf\udce9.JPEG: cannot be decoded (no known kind" in capsys.readouterr().err


def test_settings_are_shown_and_nothing_is_done(capsys):
    assert main(["data-imagenet", "max_resolution=256", "--settings"]) == 0
    assert "max_resolution: 256" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data-imagenet"], "imagenet=null: name the folder that holds train/ and val/"),
        (["data-imagenet", "imgenet=x"], "data-imagenet has no setting 'imgenet'; did you mean"),
        (["data-imagenet", "skip_corrupt=maybe"], "skip_corrupt='maybe': must be true or false"),
        (["data-imagenet", "--skip-corrupt"], "'--skip-corrupt' is no setting; write name=value"),
        (["data-imagenet", "num_workers=-1"], "num_workers=-1: must be at least 0"),
        (["data-imagenet", "num_workers=[1"], "num_workers=[1: "),
        (["data-synthetic", "num_classes=0"], "num_classes=0: must be at least 1"),
    ],
)
def test_bad_words_are_refused(words, expected, refused):
    assert refused(*words).startswith(expected)


@pytest.mark.usefixtures("without_ffcv")
def test_without_ffcv_nothing_is_written(refused, tmp_path):
    message = refused("data-imagenet", f"imagenet={tmp_path}", f"out={tmp_path}/out")

    assert message.startswith("FFCV is not installed")
    assert list(tmp_path.iterdir()) == []
