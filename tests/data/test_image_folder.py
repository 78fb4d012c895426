import numpy as np
import pytest
import torch
from PIL import Image

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.image_folder import build_image_folder
from lightning_sparse.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Write four training and two test JPEGs in two classes, of several sizes and colour modes."""
    for part, sizes in (("train", [(20, 30), (40, 25)]), ("val", [(33, 21)])):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number, (height, width) in enumerate(sizes):
                pixels = np.full((height, width, 3), 60 + 100 * label, dtype=np.uint8)
                image = Image.fromarray(pixels).convert("L" if number else "RGB")
                image.save(folder / f"{number}.jpg")
    return tmp_path


def test_images_are_decoded_in_their_own_sizes_and_normalised(root):
    source = build_image_folder(root)
    image, label = source.train[3]

    expected = (torch.tensor([160 / 255] * 3) - torch.tensor([0.485, 0.456, 0.406])) / (
        torch.tensor([0.229, 0.224, 0.225])
    )
    assert (len(source.train), len(source.test), source.num_classes) == (4, 2, 2)
    assert image.shape == (3, 40, 25)
    assert label == 1
    assert torch.allclose(image.mean(dim=(1, 2)), expected, atol=0.02)


def test_batches_have_the_networks_size_in_training_and_evaluation(root):
    data = ImageDataModule(build_image_folder(root, size=16, resize=18), batch_size=2, seed=1)

    shapes = [images.shape for images, _ in data.train_dataloader()]
    evaluated = [images.shape for loader in data.val_dataloader() for images, _ in loader]

    assert shapes == [(2, 3, 16, 16)] * 2
    assert evaluated == [(4, 3, 16, 16), (2, 3, 16, 16)]


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_missing_folder_is_named_with_the_remedy(root, part):
    (root / part).rename(root / "elsewhere")

    with pytest.raises(UserError, match=rf"no images at {root / part}.*data.root="):
        build_image_folder(root)


def test_an_empty_class_is_named(root):
    (root / "train" / "bird").mkdir()

    with pytest.raises(UserError, match=r"train/bird: holds no image; remove empty"):
        build_image_folder(root)


def test_classes_that_differ_between_training_and_test_are_named(root):
    (root / "val" / "dog").rename(root / "val" / "wolf")

    with pytest.raises(UserError, match="different classes, for example 'dog'"):
        build_image_folder(root)


def test_a_damaged_image_is_named(root):
    file = root / "train" / "cat" / "0.jpg"
    file.write_bytes(file.read_bytes()[:100])

    with pytest.raises(UserError, match=r"cat/0.jpg: cannot be decoded"):
        build_image_folder(root).train[0]


def test_folders_of_somebody_else_are_named(as_stranger):
    (as_stranger.folder / "mine" / "train").mkdir(parents=True)
    (as_stranger.folder / "mine").chmod(0o700)

    with as_stranger(), pytest.raises(UserError, match=r"mine/train: .*\(Permission denied\)"):
        build_image_folder(as_stranger.folder / "mine")
