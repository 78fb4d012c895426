"""Data sets that are not what they say, and what is said of them."""

import pytest
import torch
from PIL import Image

from lightning_sparse.data.augmentation import (
    AbstractAugmentation,
    RandomResizedCropFlip,
    RandomShift,
)
from lightning_sparse.data.checks import check_source
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.errors import UserError

NUM_IMAGES = 24


def in_memory(num_images=NUM_IMAGES):
    return torch.rand(num_images, 1, 8, 8), torch.arange(num_images) % 10


def source(**changes):
    return ImageSource(
        **{
            "name": "mine",
            "train": TensorImages(*in_memory()),
            "test": TensorImages(*in_memory()),
            "num_classes": 10,
            "image_shape": (1, 8, 8),
            "augmentation": RandomShift(1),
            **changes,
        }
    )


def with_labels(change):
    images, labels = in_memory()
    return TensorImages(images, change(labels))


def with_pixel(value):
    images, labels = in_memory()
    images[3, 0, 2, 2] = value
    return TensorImages(images, labels)


def only_first(value):
    return lambda labels: torch.cat([torch.tensor([value]), labels[1:]])


@pytest.mark.parametrize("kind", ["train", "test"])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (with_labels(lambda labels: labels + 1), "image 9 has the label 10, and 1 more are none"),
        (with_labels(only_first(-1)), "image 0 has the label -1; num_classes=10"),
        (with_labels(only_first(-100)), "image 0 has the label -100; .* called 0 to 9"),
        (with_pixel(float("nan")), "image 3 has a pixel that is nan; pixels must be finite"),
        (with_pixel(float("inf")), "image 3 has a pixel that is inf"),
        (TensorImages(torch.rand(4, 1, 9, 8), torch.zeros(4, dtype=torch.int64)),
         "image 0 is 1 x 9 x 8, but the data set says image_shape=1 x 8 x 8"),
        (TensorImages(torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)),
         "image 0 is 3 x 8 x 8, but the data set says image_shape=1 x 8 x 8"),
        (TensorImages(*in_memory(0)), "set is empty"),
        (range(5), "set is a "),
    ],
)  # fmt: skip
def test_a_set_in_memory_is_refused_before_anything_else(kind, images, message):
    called = {"train": "training", "test": "test"}[kind]
    if isinstance(images, range):
        images = iter(images)

    with pytest.raises(UserError, match=rf"^data set mine: (its )?{called} {message}"):
        unchecked_by_types(**{kind: images})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 9}, "mine: training image 9 has the label 9, and 1 more"),
        ({"num_classes": 0}, "mine: num_classes=0: must be at least 1"),
        ({"num_classes": True}, "mine: num_classes=True"),
        ({"image_shape": (1, 16, 16)}, "image_shape=1 x 16 x 16"),
        ({"image_shape": (8, 8)}, r"image_shape=\(8, 8\): must be channels, height and width"),
    ],
)
def test_what_is_said_of_both_sets_is_compared_with_them(changes, message):
    with pytest.raises(UserError, match=message):
        unchecked_by_types(**changes)


def unchecked_by_types(**changes):
    """Build as outside of pytest, where no types are looked at while it runs."""
    fields = {**vars(source()), **changes}
    made = ImageSource.__new__(ImageSource)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


class Items:
    """Images made one by one, of which the one at ``odd`` is made by ``change``."""

    def __init__(self, change=lambda *pair: pair, odd=None):
        self.change, self.odd = change, odd

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        pair = torch.full((1, 8, 8), float(index)), index % 10
        return self.change(*pair) if index == self.odd else pair


def fail(*_):
    raise ValueError("row 7 has no image\nbut two lines")


ODD_ITEMS = {
    "a float for a label": (lambda x, y: (x, float(y)), "label .*, a float; it must be an integer"),
    "no class": (lambda x, _: (x, 10), "has the label 10; num_classes=10 classes are called 0 to"),
    "ignored label": (lambda x, _: (x, -100), "has the label -100"),
    "numpy": (lambda x, y: (x.numpy(), y), r"is a ndarray; make it a float32 tensor"),
    "pil": (lambda _, y: (Image.new("L", (8, 8)), y), "is a Image; .* by torchvision.transforms"),
    "triple": (lambda x, y: (x, y, 1), r"gave 3 things; its items must be pairs"),
    "dict": (lambda x, y: {"image": x, "label": y}, "gave dict; its items must be pairs"),
    "none": (lambda *_: None, "gave NoneType; its items must be pairs"),
    "raises": (fail, "ValueError: row 7 has no image but two lines$"),
    "double": (lambda x, y: (x.double(), y), "is torch.float64 with shape 1 x 8 x 8; expected"),
    "flat": (lambda x, y: (x.flatten(), y), "is torch.float32 with shape 64; expected"),
    "ragged": (lambda _, y: (torch.zeros(1, 9, 9), y), "is 1 x 9 x 9, but the data set says"),
    "colours": (lambda _, y: (torch.zeros(3, 8, 8), y), "is 3 x 8 x 8, but the data set says"),
    "nan": (lambda x, y: (x / 0 * 0, y), "has pixels that are NaN or infinite"),
}


@pytest.mark.parametrize("kind", ["train", "test"])
@pytest.mark.parametrize("odd", [0, NUM_IMAGES - 1])
@pytest.mark.parametrize(("change", "message"), ODD_ITEMS.values(), ids=ODD_ITEMS)
def test_the_ends_of_sets_made_item_by_item_are_looked_at_before_training(
    kind, odd, change, message
):
    called = {"train": "training", "test": "test"}[kind]

    with pytest.raises(UserError, match=rf"^data set mine: {called} image {odd}\b.*{message}"):
        check_source(source(**{kind: Items(change, odd)}))


@pytest.mark.parametrize(("change", "message"), ODD_ITEMS.values(), ids=ODD_ITEMS)
def test_an_odd_item_in_between_is_named_when_it_comes_in(change, message):
    odd = source(train=Items(change, 7), test=Items(change, 7))
    check_source(odd)
    data = ImageDataModule(odd, batch_size=4, seed=1)

    for batches, called in (
        (data.train_dataloader(), "training"),
        (data.train_subset_batches(), "training"),
        (data.recalibration_batches(NUM_IMAGES, 4), "training"),
        (data.test_batches(), "test"),
    ):
        with pytest.raises(UserError, match=rf"^data set mine: {called} image 7\b.*{message}"):
            list(batches)


def test_a_loader_process_hands_the_same_line_over():
    odd = source(train=Items(fail, 7))
    data = ImageDataModule(odd, batch_size=4, seed=1, num_workers=1)

    for batches in (data.train_dataloader(), data.train_subset_batches()):
        with pytest.raises(UserError) as caught:
            list(batches)
        assert str(caught.value) == (
            "data set mine: training image 7: ValueError: row 7 has no image but two lines"
        )


@pytest.mark.parametrize("label", [torch.tensor(3), torch.tensor(3, dtype=torch.uint8), True])
def test_a_label_may_be_any_integer(label):
    made = source(train=Items(lambda image, _: (image, label), 2))
    expected = [index % 10 for index in range(NUM_IMAGES) if index != 2]

    for batches in (
        ImageDataModule(made, batch_size=NUM_IMAGES, seed=1).train_dataloader(),
        ImageDataModule(made, batch_size=4, seed=1).train_subset_batches(),
    ):
        labels = torch.cat([labels for _, labels in batches])
        assert labels.dtype == torch.int64
        assert sorted(labels.tolist()) == sorted([*expected, int(label)])


class Longer(Items):
    def __len__(self):
        return NUM_IMAGES + 1

    def __getitem__(self, index):
        if index >= NUM_IMAGES:
            raise IndexError(index)
        return super().__getitem__(index)


def test_a_set_with_fewer_items_than_it_says_is_refused():
    with pytest.raises(UserError, match="mine: test image 24: IndexError: 24"):
        check_source(source(test=Longer()))


def test_images_of_any_size_will_do_where_a_box_is_cut_out():
    crops = RandomResizedCropFlip(size=8, resize=8)
    sizes = Items(lambda _, label: (torch.rand(1, 20, 30), label), 5)

    check_source(source(train=sizes, augmentation=crops))
    made = ImageDataModule(source(train=sizes, augmentation=crops), batch_size=4, seed=1)
    assert {images.shape for images, _ in made.train_dataloader()} == {(4, 1, 8, 8)}
    with pytest.raises(UserError, match="mine: training image 0 is 3 x 8 x 8, but"):
        check_source(source(train=Items(ODD_ITEMS["colours"][0], 0), augmentation=crops))


class Odd(AbstractAugmentation):
    num_draws = 1

    def __init__(self, change):
        self.change = change

    def augment(self, images, draws):
        return self.change(images)

    def plain(self, images):
        return images

    def at_epoch(self, epoch):
        return self


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: images.double(), "made torch.float64 1 x 1 x 8 x 8"),
        (lambda images: images[0], "made torch.float32 1 x 8 x 8 of an image of 1 x 8 x 8"),
        (lambda images: images.expand(-1, 3, -1, -1), "made torch.float32 1 x 3 x 8 x 8"),
        (lambda images: images / 0, "makes pixels that are NaN or infinite"),
        (fail, "ValueError: row 7"),
        (lambda _: None, "AttributeError"),
    ],
)
@pytest.mark.parametrize("train", [TensorImages(*in_memory()), Items()], ids=["memory", "items"])
def test_an_augmentation_is_tried_before_training(train, change, message):
    with pytest.raises(UserError, match=rf"^data set mine: augmentation.augment.*{message}"):
        check_source(source(train=train, augmentation=Odd(change)))
