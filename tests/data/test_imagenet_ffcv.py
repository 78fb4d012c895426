import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.image_folder import DecodedImages, normalised_levels
from lightning_sparse.data.imagenet_ffcv import build_imagenet_ffcv
from lightning_sparse.data.loader import DatasetLoader, ViewLoader
from lightning_sparse.errors import UserError

pytestmark = [
    # Lightning 2.6.6 asks torch 2.14 an outdated question about its trees.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning"),
    # SLURM's commands are installed for other tests.
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),
]

SIZE, RESIZE = 96, 112
NUM_TRAIN, NUM_VAL = 29, 11


@pytest.fixture
def without_ffcv(monkeypatch):
    """Make FFCV look as if it were not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


@pytest.fixture
def source(beton_root):
    return build_imagenet_ffcv(beton_root, "nowhere", SIZE, RESIZE)


@pytest.fixture
def folder_source(beton_root, image_root, without_ffcv):  # noqa: ARG001
    with pytest.warns(UserWarning, match="FFCV is not installed"):
        return build_imagenet_ffcv(beton_root, image_root, SIZE, RESIZE)


def data_module(source, **changes):
    settings = {"batch_size": 4, "seed": 1, "evaluation_batch_size": 6, "num_workers": 2}
    return ImageDataModule(source, **{**settings, **changes})


def copied(batches):
    """Copy what FFCV overwrites."""
    return [(images.clone(), labels.clone()) for images, labels in batches]


def assert_same_batches(one, other):
    assert len(one) == len(other)
    for (images, labels), (other_images, other_labels) in zip(one, other, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def assert_nearly_same_batches(one, other):
    """FFCV averages areas and rounds to levels, torchvision weighs by triangles.

    A shift by one pixel would give 0.03 or more on average, a mirrored image about 1.
    """
    assert len(one) == len(other)
    for (images, labels), (other_images, other_labels) in zip(one, other, strict=True):
        assert torch.equal(labels, other_labels)
        difference = (images - other_images).abs()
        assert difference.mean() < 0.02
        assert difference.max() < 0.4


def test_ffcv_reads_the_whole_batches(source, folder_source):
    assert isinstance(data_module(source).train_dataloader(), ViewLoader)
    assert isinstance(data_module(folder_source).train_dataloader(), DatasetLoader)


def test_validation_images_and_labels_are_those_of_torchvision(source, folder_source):
    ours, theirs = (copied(data_module(each).test_batches()) for each in (source, folder_source))

    assert [len(labels) for _, labels in ours] == [6, 5]
    assert_nearly_same_batches(ours, theirs)


@pytest.mark.usefixtures("ffcv_installed")
def test_images_that_need_no_resizing_are_exactly_those_of_torchvision(tmp_path):
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
    from lightning_sparse.data.image_folder import build_image_folder, open_folders
    from tests.data.conftest import smooth_image

    for part, label in itertools.product(("train", "val"), "ab"):
        (tmp_path / part / label).mkdir(parents=True)
        smooth_image(3).resize((RESIZE, RESIZE)).save(tmp_path / part / label / "1.png")
    for part, folder in zip(("train", "val"), open_folders(tmp_path, "x"), strict=True):
        write_beton(
            folder.samples, tmp_path / f"{part}.beton", BetonSettings(mode="raw"),
            root=tmp_path, num_workers=1,
        )  # fmt: skip

    batches = [
        copied(ImageDataModule(each, batch_size=2, seed=1).test_batches())
        for each in (
            build_imagenet_ffcv(tmp_path, "nowhere", SIZE, RESIZE),
            build_image_folder(tmp_path, SIZE, RESIZE),
        )
    ]

    assert_same_batches(*batches)


@pytest.mark.usefixtures("ffcv_installed")
@pytest.mark.parametrize("shape", [(1, 600), (600, 1)])
def test_a_thin_image_among_others_is_read_with_and_without_ffcv(tmp_path, shape):
    """Neither the first nor the last of its set, at which a look before training ends."""
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
    from lightning_sparse.data.image_folder import build_image_folder, open_folders
    from tests.data.conftest import smooth_image

    ramp = np.linspace(0, 200, 600).astype(np.uint8).reshape(*shape, 1).repeat(3, axis=2)
    for part in ("train", "val"):
        folder = tmp_path / part / "a"
        folder.mkdir(parents=True)
        for number in range(4):
            smooth_image(number).save(folder / f"{number}.png")
        Image.fromarray(ramp).save(folder / "1_thin.png")
    for part, found in zip(("train", "val"), open_folders(tmp_path, "x"), strict=True):
        write_beton(
            found.samples, tmp_path / f"{part}.beton", BetonSettings(mode="raw"),
            root=tmp_path, num_workers=1,
        )  # fmt: skip

    for source in (
        build_imagenet_ffcv(tmp_path, "nowhere", SIZE, RESIZE),
        build_image_folder(tmp_path, SIZE, RESIZE),
    ):
        data = ImageDataModule(source, batch_size=5, seed=1, evaluation_batch_size=5)
        ((tested, _),) = copied(data.test_batches())
        trained, _ = next(iter(data.train_dataloader()))
        middle = normalised_levels(torch.full((3, 1, 1), 100, dtype=torch.uint8))
        differences = (tested - middle).abs().amax(dim=(1, 2, 3))
        assert differences.min() < 0.02, "the middle of the thin one"
        assert torch.isfinite(trained).all()
        assert trained.shape == tested.shape == (5, 3, SIZE, SIZE)


def test_training_views_and_their_order_are_those_of_torchvision(source, folder_source):
    batches = [
        copied(itertools.chain(loader, loader))
        for loader in (data_module(each).train_dataloader() for each in (source, folder_source))
    ]

    assert len(batches[0]) == 2 * (NUM_TRAIN // 4)
    assert_nearly_same_batches(*batches)


def test_labels_are_the_same_for_every_index(source, folder_source):
    for part in ("train", "test"):
        ours, theirs = getattr(source, part), getattr(folder_source, part)
        assert [ours[index][1] for index in range(len(ours))] == [
            label for _, label in theirs.samples
        ]


def test_equal_settings_read_equal_bits(source):
    first, second = (copied(data_module(source).train_dataloader()) for _ in range(2))
    other = copied(data_module(source, seed=2).train_dataloader())

    assert_same_batches(first, second)
    assert not torch.equal(other[0][0], first[0][0])


def test_memory_that_is_used_again_holds_the_same_batches_as_new_memory(
    source, beton_root, monkeypatch
):
    from lightning_sparse.data.ffcv import beton

    loader = data_module(source).train_dataloader()
    again = [copied(loader) for _ in range(3)]
    monkeypatch.setattr(beton._Epoch, "is_over", False)
    loader = data_module(
        build_imagenet_ffcv(beton_root, "nowhere", SIZE, RESIZE)
    ).train_dataloader()
    for batches, other in zip(again, [copied(loader) for _ in range(3)], strict=True):
        assert_same_batches(batches, other)


def test_iterations_side_by_side_do_not_write_over_each_other(source):
    def loaders():
        return [data_module(source, seed=seed).train_dataloader() for seed in (1, 2)]

    alone = [copied(loader) for loader in loaders()]
    both = [
        [(images.clone(), labels.clone()) for images, labels in pair]
        for pair in zip(*loaders(), strict=True)
    ]
    for number in (0, 1):
        assert_same_batches(alone[number], [pair[number] for pair in both])


@pytest.mark.parametrize("num_workers", [0, 1, 7])
def test_the_number_of_threads_changes_nothing(source, num_workers):
    loaders = (data_module(source, num_workers=n).train_dataloader() for n in (num_workers, 2))

    assert_same_batches(*(copied(loader) for loader in loaders))


def test_a_loader_goes_on_at_the_next_unread_batch(source):
    straight = copied(itertools.chain.from_iterable([data_module(source).train_dataloader()] * 1))
    loader = data_module(source).train_dataloader()
    both = copied(itertools.chain(loader, loader))
    assert_same_batches(both[:7], straight)

    for position in (0, 3, 6, 7, 8):
        resumed = data_module(source).train_dataloader()
        resumed.load_state_dict({**loader.state_dict(), "position": position})
        rest = itertools.chain.from_iterable(itertools.repeat(resumed))
        assert_same_batches(copied(itertools.islice(rest, 3)), both[position : position + 3])


class Recorder(pl.LightningModule):
    """A network with one weight that notes what it was trained and validated on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained, self.validated = [], []

    def training_step(self, batch):
        self.trained.append((batch[0].clone(), batch[1].clone()))
        return self.weight * batch[0].sum()

    def validation_step(self, batch, batch_idx, dataloader_idx):
        self.validated.append((batch[0].clone(), batch[1].clone()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, folder, max_steps, checkpoint=None):
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=max_steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder, val_check_interval=4,
    )  # fmt: skip
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(folder / f"{max_steps}.ckpt")
    return recorder


def test_lightning_trains_validates_and_resumes_inside_an_epoch(source, tmp_path):
    """Validation comes in the middle of an epoch, while FFCV already prepares its next batches."""
    straight = fit(data_module(source), tmp_path, 10)
    fit(data_module(source), tmp_path, 5)
    resumed = fit(data_module(source), tmp_path, 10, tmp_path / "5.ckpt")

    loader = data_module(source).train_dataloader()
    assert_same_batches(straight.trained, copied(itertools.chain(loader, loader))[:10])
    assert_same_batches(resumed.trained, straight.trained[5:])
    validation = data_module(source).val_dataloader()
    once = [copied(batches) for batches in validation]
    assert_same_batches(straight.validated[:7], [*once[0], *once[1]])


@pytest.mark.parametrize("world_size", [2, 3, 12])
def test_every_rank_takes_its_share_and_no_image_comes_twice(source, world_size):
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    tested, trained = [], []
    for rank in range(world_size):
        data = data_module(source, batch_size=2)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)
        tested += [images for images, _ in copied(data.test_batches())]
        trained.append(data.train_dataloader().order.batches(0).flatten())

    # No two images of the set are alike, so a duplicate would make the number smaller.
    assert len(torch.cat(tested)) == NUM_VAL
    assert len(torch.cat(tested).flatten(1).unique(dim=0)) == NUM_VAL
    assert len(torch.cat(trained).unique()) == NUM_TRAIN // (2 * world_size) * 2 * world_size


def test_recalibration_reads_equal_batches_of_training_images(source):
    batches = copied(data_module(source).recalibration_batches(12, 4, augmented=False))
    subset = copied(data_module(source, train_subset_size=12).train_subset_batches())

    assert [len(labels) for _, labels in batches] == [4, 4, 4]
    assert torch.equal(
        torch.cat([images for images, _ in batches]), torch.cat([images for images, _ in subset])
    )


def test_training_images_grow_with_the_epochs_and_evaluation_does_not(beton_root):
    growth = {"start_size": 32, "end_size": 64, "start_epoch": 0, "end_epoch": 1}
    source = build_imagenet_ffcv(beton_root, "nowhere", SIZE, RESIZE, growth)
    data = data_module(source)
    loader = data.train_dataloader()

    sizes = [{images.shape[-1] for images, _ in loader} for _ in range(2)]

    assert sizes == [{32}, {64}]
    assert {images.shape[-1] for images, _ in data.test_batches()} == {SIZE}


def test_torchs_threads_and_the_global_generators_are_left_alone(source):
    torch.set_num_threads(1)
    before = repr(np.random.get_state(legacy=False)), bytes(torch.get_rng_state())

    data = data_module(source)
    next(iter(data.train_dataloader()))
    list(data.test_batches())

    assert torch.get_num_threads() == 1
    assert (repr(np.random.get_state(legacy=False)), bytes(torch.get_rng_state())) == before


@pytest.mark.usefixtures("without_ffcv")
def test_without_ffcv_one_line_says_what_it_costs(beton_root, image_root):
    with pytest.warns(UserWarning, match=r"one by one instead, which takes several times as long"):
        source = build_imagenet_ffcv(beton_root, image_root)

    assert isinstance(source.train, DecodedImages)


@pytest.mark.usefixtures("without_ffcv")
def test_images_that_were_left_out_are_left_out_without_ffcv_too(tmp_path, image_root):
    left_out = "train/n00000001/004.JPEG"
    (tmp_path / "train.beton.json").write_text(f'{{"skipped": ["{left_out}"]}}')

    with pytest.warns(UserWarning, match="FFCV is not installed"):
        source = build_imagenet_ffcv(tmp_path, image_root)

    assert len(source.train) == NUM_TRAIN - 1
    assert str(image_root / left_out) not in [file for file, _ in source.train.samples]


@pytest.mark.usefixtures("ffcv_installed")
def test_a_missing_file_is_named_with_the_command_that_writes_it(tmp_path):
    message = rf"no file {tmp_path}/train.beton; write it again with `make data-imagenet"
    with pytest.raises(UserError, match=message):
        build_imagenet_ffcv(tmp_path, "nowhere")


@pytest.mark.usefixtures("without_ffcv")
def test_missing_image_files_are_named_where_ffcv_is_missing(tmp_path):
    with (
        pytest.warns(UserWarning, match="FFCV is not installed"),
        pytest.raises(UserError, match=r"no images at .*data.image_root=<folder>"),
    ):
        build_imagenet_ffcv(tmp_path, tmp_path / "images")


@pytest.mark.usefixtures("ffcv_installed")
def test_files_of_different_classes_are_refused(tmp_path, image_root):
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
    from lightning_sparse.data.image_folder import open_folders

    train, val = open_folders(image_root, "x")
    few = [sample for sample in train.samples if sample[1] == 0]
    for part, samples in (("train", few), ("val", val.samples)):
        write_beton(
            samples, tmp_path / f"{part}.beton", BetonSettings(), root=image_root, num_workers=1
        )

    with pytest.raises(UserError, match=r"val.beton has classes that train.beton lacks"):
        build_imagenet_ffcv(tmp_path, "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda label: label + 1, "labels go from 1 to 3, but 3 classes have images"),
        (lambda label: label - 1, "labels go from -1 to 1"),
        (lambda label: 5 * label, "labels go from 0 to 10, but 3 classes have images"),
    ],
)
@pytest.mark.usefixtures("ffcv_installed")
def test_labels_that_are_not_counted_from_zero_are_refused(tmp_path, image_root, change, message):
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
    from lightning_sparse.data.image_folder import open_folders

    samples = [(file, change(label)) for file, label in open_folders(image_root, "x")[1].samples]
    for part in ("train", "val"):
        write_beton(
            samples, tmp_path / f"{part}.beton", BetonSettings(), root=image_root, num_workers=1
        )

    with pytest.raises(UserError, match=rf"train\.beton: its {message}.*write both files"):
        build_imagenet_ffcv(tmp_path, "nowhere")


def test_a_file_that_may_not_be_read_is_named(as_stranger, beton_root):
    from lightning_sparse.data.ffcv.beton import check_beton

    file = as_stranger.folder / "train.beton"
    file.write_bytes((beton_root / "train.beton").read_bytes())
    file.chmod(0)

    with as_stranger(), pytest.raises(UserError, match=r"train\.beton: .*Permission denied"):
        check_beton(file)
