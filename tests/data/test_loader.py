import itertools

import pytest
import torch

from lightning_sparse.data import loader as loader_module
from lightning_sparse.data.augmentation import RandomCropFlip
from lightning_sparse.data.draws import fixed_permutation
from lightning_sparse.data.loader import (
    DatasetLoader,
    EpochOrder,
    EvaluationBatches,
    TensorLoader,
)
from lightning_sparse.data.source import TensorImages
from lightning_sparse.errors import UserError

NUM_IMAGES = 22
AUGMENTATION = RandomCropFlip(padding=2)
IMAGES = TensorImages(
    torch.randn(NUM_IMAGES, 2, 6, 5, generator=torch.Generator().manual_seed(1)),
    torch.arange(NUM_IMAGES),
)


class OneByOne:
    """The same images as a map-style data set."""

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        return IMAGES.images[index], int(IMAGES.labels[index])


def order(**changes):
    return EpochOrder(**{"num_images": NUM_IMAGES, "batch_size": 4, "seed": 1, **changes})


def tensor_loader(**changes):
    return TensorLoader(IMAGES, AUGMENTATION, order(**changes))


def dataset_loader(num_workers=0, **changes):
    return DatasetLoader(OneByOne(), AUGMENTATION, order(**changes), num_workers)


def epochs(loader, num_epochs):
    """Copy every batch of some epochs."""
    passes = itertools.chain.from_iterable(loader for _ in range(num_epochs))
    return [(images.clone(), labels.clone()) for images, labels in passes]


def assert_equal_batches(one, other):
    assert len(one) == len(other)
    for (images, labels), (other_images, other_labels) in zip(one, other, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def test_an_epoch_holds_no_image_twice_and_drops_the_incomplete_batch():
    batches = order().batches(epoch=3)

    assert batches.shape == (5, 4)
    assert len(batches.unique()) == 20


def test_ranks_share_the_images_of_each_step():
    whole = order(batch_size=6).batches(epoch=2)
    shares = [order(batch_size=2, rank=rank, world_size=3).batches(epoch=2) for rank in range(3)]

    assert torch.equal(torch.cat(shares, dim=1), whole)


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 1}])
def test_another_seed_or_epoch_gives_another_order(other):
    epoch = other.pop("epoch", 0)

    assert not torch.equal(order(**other).batches(epoch), order().batches(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 23}, "batch_size=23: the training set has 22 images"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 12, "world_size": 2}, "batch_size=12 on each of 2 ranks"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        order(**changes)


def test_the_view_of_an_image_depends_on_seed_epoch_and_index_alone():
    views = [
        {
            int(label): image
            for images, labels in epochs(loader, 1)
            for image, label in zip(images, labels, strict=True)
        }
        for loader in (tensor_loader(batch_size=1), tensor_loader(batch_size=11))
    ]

    assert all(torch.equal(views[0][label], views[1][label]) for label in range(NUM_IMAGES))


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 1}])
def test_another_seed_or_epoch_gives_other_views(other):
    everything = {"batch_size": NUM_IMAGES}
    first = epochs(tensor_loader(**everything), 2)
    images, labels = (
        epochs(tensor_loader(**{**everything, **other}), 1)[0] if "seed" in other else (first[1])
    )

    by_label = images[labels.argsort()]
    assert not torch.equal(by_label, first[0][0][first[0][1].argsort()])


def test_batches_do_not_depend_on_how_many_are_augmented_at_once(monkeypatch):
    together = epochs(tensor_loader(), 2)
    monkeypatch.setattr(loader_module, "_CHUNK_ELEMENTS", 1)

    assert_equal_batches(epochs(tensor_loader(), 2), together)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_made_one_by_one_give_the_same_batches(num_workers):
    assert_equal_batches(epochs(dataset_loader(num_workers), 3), epochs(tensor_loader(), 3))


@pytest.mark.parametrize("make_loader", [tensor_loader, dataset_loader])
def test_a_loader_goes_on_after_any_batch(make_loader):
    straight = epochs(make_loader(), 3)

    for position in range(11):
        loader, resumed = make_loader(), make_loader()
        endless = itertools.chain.from_iterable(itertools.repeat(loader))
        for _ in range(position):
            next(endless)
        resumed.load_state_dict(loader.state_dict())
        remaining = itertools.chain.from_iterable(itertools.repeat(resumed))
        assert_equal_batches(
            list(itertools.islice(remaining, 4)), straight[position : position + 4]
        )


def test_the_position_stands_at_the_next_epoch_when_the_last_batch_is_out():
    loader = tensor_loader()
    iterator = iter(loader)
    for _ in range(len(loader)):
        next(iterator)

    assert loader.state_dict()["position"] == 5
    assert next(iterator, None) is None
    assert_equal_batches(epochs(loader, 1), epochs(tensor_loader(), 2)[5:])


def test_an_abandoned_epoch_is_taken_up_where_it_was_left():
    loader = dataset_loader(num_workers=1)
    next(iter(loader))

    assert_equal_batches(epochs(loader, 1), epochs(tensor_loader(), 1)[1:])


def test_seeking_passes_batches_over():
    loader = tensor_loader()
    loader.seek(7)

    assert_equal_batches(epochs(loader, 1), epochs(tensor_loader(), 2)[7:])


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"batch_size": 5}, {"world_size": 2}, {"num_images": 21}]
)
def test_a_position_in_other_data_is_refused(change):
    name, value = next(iter(change.items()))

    with pytest.raises(UserError, match=rf"{name}={value}: the checkpoint was written with"):
        tensor_loader(**change).load_state_dict(tensor_loader().state_dict())


@pytest.mark.parametrize("make_loader", [tensor_loader, dataset_loader])
def test_the_global_generator_is_left_alone(make_loader):
    before = torch.get_rng_state()
    epochs(make_loader(), 2)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("images", [IMAGES, OneByOne()], ids=["tensors", "one by one"])
def test_evaluation_gives_every_image_once_unaugmented_in_fixed_order(images):
    indices = torch.from_numpy(fixed_permutation(NUM_IMAGES))
    batches = EvaluationBatches(images, AUGMENTATION, indices, batch_size=8)
    before = torch.get_rng_state()

    first, second = list(batches), list(batches)

    assert_equal_batches(first, second)
    assert [len(labels) for _, labels in first] == [8, 8, 6]
    assert len(batches) == 3
    assert batches.num_images == NUM_IMAGES
    assert torch.equal(torch.cat([labels for _, labels in first]), indices)
    assert torch.equal(torch.cat([images for images, _ in first]), IMAGES.images[indices])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("world_size", "batches_per_step"), [(1, 1), (1, 4), (2, 2), (4, 1)])
def test_the_images_of_a_step_do_not_depend_on_who_shares_them(world_size, batches_per_step):
    """45 images make five steps of eight; the epoch ends there, inside no accumulation."""
    orders = [
        EpochOrder(
            num_images=45,
            batch_size=8 // (world_size * batches_per_step),
            seed=1,
            rank=rank,
            world_size=world_size,
            batches_per_step=batches_per_step,
        )
        for rank in range(world_size)
    ]
    whole = EpochOrder(num_images=45, batch_size=8, seed=1).batches(3)
    parts = [order.batches(3).reshape(5, -1) for order in orders]

    assert {len(order) for order in orders} == {5 * batches_per_step}
    shared = torch.cat(parts, dim=1)
    assert torch.equal(shared.sort(dim=1).values, whole.sort(dim=1).values)


def test_a_step_that_does_not_fit_into_the_training_set_is_refused():
    with pytest.raises(UserError, match=r"batch_size=8 on each of 2 ranks, 3 times a step"):
        EpochOrder(num_images=47, batch_size=8, seed=1, world_size=2, batches_per_step=3)


@pytest.mark.parametrize("cut_off", [EOFError(), ConnectionResetError(104, "reset by peer")])
def test_a_loader_process_that_ends_while_it_hands_over_a_batch_is_said(cut_off):
    def handed_over():
        yield torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
        raise cut_off

    batches = loader_module._batches_or_error(handed_over())
    next(batches)

    with pytest.raises(UserError, match=r"a loader process ended.*fewer num_workers"):
        next(batches)
