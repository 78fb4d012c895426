import dataclasses
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.loader import DatasetLoader, TensorLoader
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.errors import UserError

pytestmark = [
    # Lightning 2.6.6 asks torch 2.14 an outdated question about its trees.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning"),
    # SLURM's commands are installed for other tests.
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),
]


class AsDataset:
    """Hide that images are in memory."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images.images[index], int(self.images.labels[index])


def make_images(num_images, seed):
    generator = torch.Generator().manual_seed(seed)
    return TensorImages(
        torch.randn(num_images, 1, 4, 4, generator=generator), torch.arange(num_images) % 3
    )


SOURCE = ImageSource(
    name="noise",
    train=make_images(20, seed=1),
    test=make_images(7, seed=2),
    num_classes=3,
    image_shape=(1, 4, 4),
    augmentation=RandomShift(1),
)


def data_module(**changes):
    return ImageDataModule(
        SOURCE, **{"batch_size": 4, "seed": 1, "evaluation_batch_size": 6, **changes}
    )


def images_of(batches):
    return torch.cat([images for images, _ in batches])


def sorted_rows(images):
    return sorted(images.flatten(1).tolist())


def test_validation_counts_every_image_of_both_sets_once():
    train, test = data_module().val_dataloader()

    assert sorted_rows(images_of(train)) == sorted_rows(SOURCE.train.images)
    assert sorted_rows(images_of(test)) == sorted_rows(SOURCE.test.images)


def test_the_training_subset_is_fixed_and_named_by_its_hash():
    small, again = (data_module(train_subset_size=5, seed=seed) for seed in (1, 2))
    images = images_of(small.train_subset_batches())

    assert torch.equal(images, images_of(again.train_subset_batches()))
    assert len(images) == 5
    assert small.train_subset_hash == again.train_subset_hash
    assert small.train_subset_hash != data_module().train_subset_hash
    assert len(small.train_subset_hash) == 12


def test_subsets_may_be_the_whole_training_set():
    whole = data_module(train_subset_size=20)

    assert whole.train_subset_hash == data_module().train_subset_hash
    assert whole.recalibration_batches(20, 5).num_images == 20


@pytest.mark.parametrize("as_dataset", [False, True])
def test_recalibration_batches_are_fixed_images_varied_as_in_an_epoch_of_their_own(as_dataset):
    train = AsDataset(SOURCE.train) if as_dataset else SOURCE.train
    source = dataclasses.replace(SOURCE, train=train)
    data = ImageDataModule(source, batch_size=4, seed=1, evaluation_batch_size=6)
    batches = data.recalibration_batches(16, 4)
    plain = images_of(data.recalibration_batches(16, 4, augmented=False))

    seen = images_of(batches)

    assert [len(labels) for _, labels in batches] == [4, 4, 4, 4]
    assert torch.equal(seen, images_of(batches))
    assert torch.equal(seen, images_of(data_module(batch_size=8).recalibration_batches(16, 4)))
    assert not torch.equal(seen, images_of(data_module(seed=2).recalibration_batches(16, 4)))
    # Each is its image, moved by at most a pixel: unmoved about once in nine.
    unmoved = (seen == plain).flatten(1).all(dim=1)
    assert 0 <= unmoved.sum() < 8
    for image, original in zip(seen, plain, strict=True):
        windows = torch.nn.functional.pad(original, (1, 1, 1, 1)).unfold(1, 4, 1).unfold(2, 4, 1)
        assert (windows == image[:, None, None]).flatten(3).all(dim=3).any()


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_recalibration_batches(world_size):
    whole = list(data_module().recalibration_batches(16, 4))
    shares = []
    for rank in range(world_size):
        data = data_module()
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)
        shares.append(list(data.recalibration_batches(16, 4, shared=True)))

    assert [len(share) for share in shares] == [
        len(range(rank, 4, world_size)) for rank in range(world_size)
    ]
    for number, (images, _) in enumerate(whole):
        assert torch.equal(shares[number % world_size][number // world_size][0], images)


def test_plain_recalibration_batches_are_equal_and_unaugmented():
    batches = list(data_module().recalibration_batches(16, 4, augmented=False))

    rows = sorted_rows(images_of(batches))
    assert [len(labels) for _, labels in batches] == [4, 4, 4, 4]
    assert len({tuple(row) for row in rows}) == 16
    assert all(row in SOURCE.train.images.flatten(1).tolist() for row in rows)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: data_module(batch_size=21), "batch_size=21: the training set has 20 images"),
        (lambda: data_module(train_subset_size=21), "train_subset_size=21: noise has 20"),
        (lambda: data_module(train_subset_size=0), "train_subset_size=0"),
        (lambda: data_module().recalibration_batches(24, 4), "num_recalibration_images=24"),
        (
            lambda: data_module().recalibration_batches(10, 4),
            "batch_size=4: must divide num_recal",
        ),
    ],
)
def test_what_the_data_cannot_give_is_refused(ask, message):
    with pytest.raises(UserError, match=message):
        ask()


def test_the_loader_follows_the_kind_of_images():
    decoded = ImageSource(
        **{
            **{name: getattr(SOURCE, name) for name in SOURCE.__dataclass_fields__},
            "train": AsDataset(SOURCE.train),
        }
    )
    one_by_one = ImageDataModule(decoded, batch_size=4, seed=1).train_dataloader()
    in_memory = data_module().train_dataloader()

    assert isinstance(one_by_one, DatasetLoader)
    assert isinstance(in_memory, TensorLoader)
    assert torch.equal(images_of(one_by_one), images_of(in_memory))


def test_training_may_begin_later_in_the_data_order():
    later = images_of(data_module(first_batch=3).train_dataloader())

    assert torch.equal(later, images_of(data_module().train_dataloader())[12:])


def test_ranks_share_training_and_evaluation_without_repeating_an_image():
    shares = []
    for rank in range(3):
        data = data_module(batch_size=2)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3, strategy=strategy)
        shares.append(data)

    trained = torch.cat([labels_and_place(data) for data in shares])
    # Evaluation is shared by whole batches, so that the last of three ranks has none of the two.
    tested = torch.cat([images for data in shares for images, _ in data.test_batches()])

    assert len(trained.unique()) == len(trained) == 18
    assert sorted_rows(tested) == sorted_rows(SOURCE.test.images)


def labels_and_place(data):
    return data.train_dataloader().order.batches(0).flatten()


class Recorder(pl.LightningModule):
    """A network with one weight that notes what it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.num_validated = [0, 0]

    def training_step(self, batch):
        images, labels = batch
        self.seen.append((images.clone(), labels.clone()))
        return self.weight * images.sum()

    def validation_step(self, batch, batch_idx, dataloader_idx):
        self.num_validated[dataloader_idx] += len(batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(tmp_path, max_steps, checkpoint=None):
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(recorder, datamodule=data_module(), ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(tmp_path / f"{max_steps}.ckpt")
    return recorder


# An epoch has five steps: inside, at the last batch of one, and at the first of the next.
@pytest.mark.parametrize("stop", [3, 4, 5, 6])
def test_a_run_resumed_by_lightning_sees_the_batches_of_the_straight_run(tmp_path, stop):
    straight = fit(tmp_path, 12).seen
    fit(tmp_path, stop)

    resumed = fit(tmp_path, 12, tmp_path / f"{stop}.ckpt").seen

    assert len(resumed) == 12 - stop
    for (images, labels), (other_images, other_labels) in zip(
        resumed, straight[stop:], strict=True
    ):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def test_lightning_validates_on_all_images_after_each_epoch(tmp_path):
    assert fit(tmp_path, 10).num_validated == [40, 14]
