import numpy as np
import pytest
import torch

from lightning_sparse.data.augmentation import (
    ProgressiveSize,
    RandomCropFlip,
    RandomResizedCropFlip,
    RandomShift,
)
from lightning_sparse.errors import UserError
from tests.reference.crops import random_view


@pytest.fixture
def images():
    return torch.randn(4, 2, 5, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("augmentation", [RandomShift(2, fill=7.0), RandomCropFlip(2)])
def test_each_image_depends_on_its_own_draws_alone(augmentation, images):
    draws = torch.rand(4, augmentation.num_draws, dtype=torch.float64)

    together = augmentation.augment(images, draws)
    alone = augmentation.augment(images[2:3], draws[2:3])

    assert torch.equal(together[2:3], alone)
    assert together.shape == images.shape


def test_a_shift_moves_the_image_and_fills_with_background():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)

    # Draws 0 and 2/3 of three choices: the window starts at row 0, column 2 of the padded image,
    # so the image moves down by one and left by one.
    shifted = RandomShift(1, fill=-1.0).augment(image, torch.tensor([[0.0, 0.7]]).double())

    assert shifted[0, 0].tolist() == [[-1, -1, -1], [1, 2, -1], [4, 5, -1]]


def test_all_shifts_are_equally_likely():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1
    grid = (torch.arange(30) + 0.5) / 30
    draws = torch.cartesian_prod(grid, grid).double()

    shifted = RandomShift(1).augment(image.expand(900, -1, -1, -1), draws)

    assert torch.equal(shifted.sum(dim=0)[0], torch.full((3, 3), 100.0))


def test_the_third_draw_mirrors():
    image = torch.arange(6.0).reshape(1, 1, 2, 3).expand(2, -1, -1, -1)
    draws = torch.tensor([[0.5, 0.5, 0.49], [0.5, 0.5, 0.5]], dtype=torch.float64)

    mirrored, straight = RandomCropFlip(1).augment(image, draws)

    assert mirrored[0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert torch.equal(straight, image[0])


def test_unaugmented_images_are_returned_as_they_are(images):
    assert torch.equal(RandomShift(1).plain(images), images)
    assert torch.equal(RandomCropFlip(1).plain(images), images)


def test_a_resized_crop_has_the_size_and_stays_inside():
    augmentation = RandomResizedCropFlip(size=4, resize=5)
    row = torch.arange(20.0)[:, None].expand(20, 30)[None, None].contiguous()

    views = augmentation.augment(
        row.expand(50, -1, -1, -1), torch.rand(50, augmentation.num_draws, dtype=torch.float64)
    )

    assert views.shape == (50, 1, 4, 4)
    assert views.min() >= 0
    assert views.max() <= 19
    # Rows stay rows: the columns of every view are equal, its rows increase.
    assert torch.allclose(views, views[..., :1].expand_as(views), atol=1e-4)
    assert (views.diff(dim=2) > 0).all()


def test_a_full_box_without_mirror_is_the_resized_image():
    image = torch.randn(1, 3, 8, 8)
    draws = torch.zeros(1, RandomResizedCropFlip.num_draws, dtype=torch.float64)
    draws[0, :2] = torch.tensor([1.0, 0.5])
    draws[0, -1] = 0.9

    assert torch.equal(RandomResizedCropFlip(size=8, resize=8).augment(image, draws), image)


def test_boxes_follow_torchvisions_distribution_of_area_and_ratio():
    augmentation = RandomResizedCropFlip(size=4, resize=4)
    draws = torch.rand(
        4000, augmentation.num_draws, generator=torch.Generator().manual_seed(1)
    ).double()
    heights, widths = np.full(4000, 300), np.full(4000, 400)
    views = augmentation.random_views(heights, widths, draws.numpy())
    boxes = torch.from_numpy(views.boxes[:, 2:]).double()

    torchvision = torch.tensor(torchvision_box_sizes(4000, height=300, width=400)).double()

    # Standard error of either mean: about 1.2 pixels.
    assert torch.allclose(boxes.mean(dim=0), torchvision.mean(dim=0), atol=5)
    assert torch.allclose(boxes.std(dim=0), torchvision.std(dim=0), rtol=0.05)


def torchvision_box_sizes(num_boxes, *, height, width):
    from torchvision.transforms import RandomResizedCrop

    image = torch.empty(1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        boxes = [
            RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
            for _ in range(num_boxes)
        ]
    return [box[2:] for box in boxes]


def test_views_are_those_of_the_reference():
    augmentation = RandomResizedCropFlip(size=4, resize=4)
    generator = np.random.default_rng(1)
    draws = generator.random((500, augmentation.num_draws))
    heights, widths = generator.integers(1, 60, (2, 500))

    views = augmentation.random_views(heights, widths, draws)

    for number in range(500):
        box, is_mirrored = random_view(
            int(heights[number]), int(widths[number]), draws[number].tolist()
        )
        assert views.boxes[number].tolist() == box
        assert views.is_mirrored[number] == is_mirrored


SHAPES = [(10, 100), (100, 10), (100, 401), (91, 600), (7, 3), (3, 7), (33, 10), (224, 81)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_box_that_never_fits_is_torchvisions_central_one(height, width):
    from torchvision.transforms import RandomResizedCrop

    augmentation = RandomResizedCropFlip(size=4, resize=4, min_area=1.0)
    draws = np.random.default_rng(1).random((3, augmentation.num_draws))
    draws[:, 1:-3:2] = 0.5  # Square boxes of the whole area fit into no oblong image.

    views = augmentation.random_views(np.full(3, height), np.full(3, width), draws)

    # A scale above 1 never fits either.
    expected = RandomResizedCrop.get_params(
        torch.empty(1, height, width), (4.0, 4.0), (3 / 4, 4 / 3)
    )
    assert views.boxes.tolist() == [list(expected)] * 3


@pytest.mark.parametrize("size", [32, 33])
def test_plain_views_are_those_of_torchvision_to_the_pixel(size):
    from torchvision.transforms import CenterCrop, Compose, Resize

    theirs = Compose([Resize(40, antialias=True), CenterCrop(size)])
    ours = RandomResizedCropFlip(size=size, resize=40)
    generator = torch.Generator().manual_seed(1)
    for height, width in torch.randint(41, 120, (30, 2), generator=generator).tolist():
        image = torch.rand(1, 3, height, width, generator=generator)
        assert torch.allclose(ours.plain(image), theirs(image), atol=1e-5), (height, width)


@pytest.mark.parametrize("shape", [(1, 600), (600, 1), (2, 401), (3, 3000), (1, 60_000)])
def test_of_an_image_much_longer_than_wide_the_middle_is_seen_and_no_more_resized(shape):
    """By way of the whole image, 1 x 60,000 pixels would take 40 GB."""
    height, width = shape
    augmentation = RandomResizedCropFlip(size=224, resize=256)
    ramp = torch.linspace(-1, 1, max(shape)).view(1, 1, *(shape if 1 in shape else (1, width)))
    plain = augmentation.plain(ramp.expand(1, 3, *shape).contiguous())
    assert plain.shape == (1, 3, 224, 224)
    # The middle is zero, and a view shows fewer pixels than the image is wide.
    assert plain.abs().max() <= 2 * min(shape) / max(shape)
    assert plain.mean().abs() < 1e-4

    top, left, box_height, box_width = augmentation.central_views(
        np.array([height]), np.array([width])
    ).boxes[0]
    assert 0 < box_height <= height - top
    assert 0 < box_width <= width - left
    assert abs(top + box_height / 2 - height / 2) <= 1
    assert abs(left + box_width / 2 - width / 2) <= 1


@pytest.mark.parametrize("size", [224, 223])
def test_central_views_begin_where_torchvision_cuts_after_resizing(size):
    augmentation = RandomResizedCropFlip(size=size, resize=256)
    lengths = np.arange(256, 700)
    shorter = np.full_like(lengths, 256)

    tops = augmentation.central_views(lengths, shorter).boxes[:, 0]

    # An image whose shorter side has the size already is not resized: its pixels are those seen.
    assert tops.tolist() == [round((length - size) / 2) for length in lengths.tolist()]


def test_the_central_view_is_the_share_that_the_plain_view_shows():
    augmentation = RandomResizedCropFlip(size=224, resize=256)

    views = augmentation.central_views(np.array([256, 512, 375]), np.array([300, 400, 500]))

    # 512 x 400 becomes 327 x 256, of which rows 52 to 276 are seen: rows 81.4 to 432.1 of 512.
    assert views.boxes.tolist()[:2] == [[16, 38, 224, 224], [81, 25, 351, 350]]
    # 375 x 500 becomes 256 x 341: 23.4 to 351.6, and 58 to 282 of 341: 85.0 to 413.5.
    assert views.boxes.tolist()[2] == [23, 85, 329, 328]
    assert not views.is_mirrored.any()


def test_the_size_of_training_images_grows_and_that_of_evaluation_stays():
    growing = ProgressiveSize(64, 128, start_epoch=2, end_epoch=6)
    augmentation = RandomResizedCropFlip(size=96, resize=112, progressive=growing)
    image = torch.randn(1, 3, 130, 140)
    draws = torch.rand(1, augmentation.num_draws, dtype=torch.float64)

    sizes = [
        augmentation.at_epoch(epoch).augment(image, draws).shape[-1] for epoch in (0, 2, 4, 6, 9)
    ]

    assert sizes == [64, 64, 96, 128, 128]
    assert augmentation.plain(image).shape == (1, 3, 96, 96)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end_epoch": 2}, "progressive.start_epoch=2, end_epoch=2: need 0 <="),
        ({"start_size": 100}, "progressive.start_size=100: must be a multiple of 32"),
        ({"end_size": 0}, "progressive.end_size=0: must be"),
    ],
)
def test_a_growth_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        ProgressiveSize(
            **{"start_size": 64, "end_size": 128, "start_epoch": 2, "end_epoch": 6, **change}
        )


def test_a_centre_larger_than_the_image_it_is_cut_from_is_refused():
    with pytest.raises(UserError, match="size=300, resize=256: need 0 < size <= resize"):
        RandomResizedCropFlip(size=300, resize=256)


def test_the_plain_view_is_the_centre_of_the_resized_image():
    image = torch.zeros(1, 1, 16, 24)
    image[:, :, 4:12, 8:16] = 1

    view = RandomResizedCropFlip(size=4, resize=8).plain(image)

    assert torch.allclose(view.mean(), torch.tensor(1.0), atol=0.15)
    assert view.shape == (1, 1, 4, 4)
