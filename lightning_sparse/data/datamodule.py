"""`ImageDataModule`: one data set as batches to train on, to measure on and to recalibrate on."""

import hashlib

import pytorch_lightning as pl
import torch
from jaxtyping import Int64
from torch import Tensor, distributed

from lightning_sparse.data.augmentation import RandomResizedCropFlip
from lightning_sparse.data.checks import checked_items
from lightning_sparse.data.draws import fixed_permutation
from lightning_sparse.data.loader import (
    CPU,
    AbstractTrainingLoader,
    AugmentedBatches,
    Batch,
    DatasetLoader,
    EpochOrder,
    EvaluationBatches,
    FixedBatches,
    FixedOrder,
    TensorLoader,
    ViewLoader,
)
from lightning_sparse.data.source import Images, ImageSource, TensorImages, ViewReader
from lightning_sparse.errors import UserError

RECALIBRATION_EPOCH = 2**31 - 1
"""The epoch of the ``augment`` stream that batch-norm statistics are computed in."""


class ImageDataModule(pl.LightningDataModule):
    """Gives Lightning, and the evaluation of paths, the batches of an `ImageSource`.

    The evaluation sets and their order are the same for every seed. Attached to a distributed
    trainer, or where a process group is at work, training and evaluation batches are this rank's
    share: for evaluation every ``world_size``-th batch, so that counts add up exactly and what is
    computed batch by batch is what one process computes.
    """

    def __init__(  # noqa: PLR0913 (keyword-only: each is one value of the configuration)
        self,
        source: ImageSource,
        *,
        batch_size: int,
        seed: int,
        evaluation_batch_size: int = 512,
        train_subset_size: int | None = None,
        num_workers: int = 0,
        first_batch: int = 0,
        batches_per_step: int = 1,
    ) -> None:
        """Choose batches and subsets.

        Args:
            source: The data set.
            batch_size: Training images per step and rank.
            seed: Names the random streams ``order`` and ``augment``.
            evaluation_batch_size: Images per batch where nothing is trained.
            train_subset_size: How many training images training loss is measured on; None for all.
            num_workers: Processes that decode images, per loader; threads if the data set reads
                whole batches by itself, as FFCV does; unused for images in memory.
            first_batch: How many batches of the data order to pass over at the start, for a run
                that goes on from a later step of another one.
            batches_per_step: Batches whose gradients one optimizer step accumulates.

        Raises:
            UserError: If a batch or the subset is larger than the training set.
        """
        super().__init__()
        EpochOrder(
            num_images=len(source.train),
            batch_size=batch_size,
            seed=seed,
            batches_per_step=batches_per_step,
        )
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.evaluation_batch_size = evaluation_batch_size
        self.num_workers = num_workers
        self.first_batch = first_batch
        self.batches_per_step = batches_per_step
        self._loader: AbstractTrainingLoader | None = None
        self._train_subset = self._subset("evaluation.train_subset_size", train_subset_size)

    @property
    def train_subset_hash(self) -> str:
        """Twelve hex digits that name the training images on which loss is measured."""
        content = hashlib.sha256(self.source.name.encode())
        content.update((self.source.sha256 or "").encode())
        content.update(self._train_subset.sort().values.numpy().astype("<i8").tobytes())
        return content.hexdigest()[:12]

    @property
    def provenance(self) -> dict[str, dict[str, str]]:
        """What a record says of the files that the images are from; nothing if it has no hash."""
        source = self.source
        return {"data": {"name": source.name, "sha256": source.sha256}} if source.sha256 else {}

    def train_dataloader(self) -> AbstractTrainingLoader:
        """Return augmented batches in the order of (seed, epoch)."""
        self._loader = self._training_loader(self._epoch_order())
        self._loader.device = self._device()
        self._loader.seek(self.first_batch)
        return self._loader

    def probe_batches(self) -> AugmentedBatches:
        """Return fixed batches like those of training: this rank's share of an epoch of its own."""
        return AugmentedBatches(self._training_loader(self._epoch_order()), RECALIBRATION_EPOCH)

    def _epoch_order(self) -> EpochOrder:
        rank, world_size = self._rank_and_world_size()
        return EpochOrder(
            num_images=len(self.source.train),
            batch_size=self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            batches_per_step=self.batches_per_step,
        )

    def teardown(self, stage: str) -> None:
        """End the processes of the training loader when the fit has ended."""
        if self._loader is not None:
            self._loader.close()

    def on_exception(self, exception: BaseException) -> None:
        """End them as well when it has failed, or was stopped."""
        self.teardown("fit")

    def val_dataloader(self) -> list[EvaluationBatches]:
        """Return the fixed training subset, not augmented, and the test set."""
        return [self.train_subset_batches(), self.test_batches()]

    def train_subset_batches(self) -> EvaluationBatches:
        """Return the fixed training subset, not augmented."""
        return self._evaluation_batches("training", self._train_subset, self.evaluation_batch_size)

    def test_batches(self) -> EvaluationBatches:
        """Return the test set."""
        return self._evaluation_batches(
            "test", _permutation(self.source.test), self.evaluation_batch_size
        )

    def first_images(self, size: int) -> list[Batch]:
        """Return one small batch of training images, not augmented, and one of test images, if any.

        Read in this process and by every rank: for a look at them before anything begins.
        """
        chosen = (
            (self._items("training"), self._train_subset),
            (self._items("test"), _permutation(self.source.test)),
        )
        return [
            batch
            for images, indices in chosen
            for batch in EvaluationBatches(images, self.source.augmentation, indices[:size], size)
        ]

    def recalibration_batches(
        self, num_images: int, batch_size: int, *, augmented: bool = True, shared: bool = False
    ) -> FixedBatches:
        """Return equal batches of fixed training images, for batch-norm statistics.

        Args:
            num_images: How many images, the first of the order of evaluation.
            batch_size: Images per batch; must divide ``num_images``, because a smaller last batch
                would weigh as much as the others.
            augmented: Whether they are varied as in training, which is what the networks were
                trained on, in one way for ever: that of an epoch which no training reaches.
            shared: Whether they are this rank's share; otherwise each rank gets all of them.

        Raises:
            UserError: If there are not so many training images, or batches would be unequal.
        """
        if num_images % batch_size:
            raise UserError(
                f"evaluation.recalibration_batch_size={batch_size}: must divide "
                f"num_recalibration_images={num_images} into equal batches; choose another number "
                "of either"
            )
        indices = self._subset("evaluation.num_recalibration_images", num_images)
        mine = self._share(indices, batch_size, shared=shared)
        if not (augmented and len(mine)):
            return self._evaluation_batches("training", indices, batch_size, shared=shared)
        order = FixedOrder(
            num_images=len(self.source.train),
            batch_size=batch_size,
            seed=self.seed,
            indices=mine.view(-1, batch_size),
        )
        return AugmentedBatches(self._training_loader(order), RECALIBRATION_EPOCH)

    @property
    def measures_whole_training_set(self) -> bool:
        """Whether the fixed training subset is the training set itself."""
        return len(self._train_subset) == len(self.source.train)

    def _training_loader(self, order: EpochOrder) -> AbstractTrainingLoader:
        train, augmentation = self._items("training"), self.source.augmentation
        if isinstance(train, TensorImages):
            return TensorLoader(train, augmentation, order)
        if isinstance(train, ViewReader) and isinstance(augmentation, RandomResizedCropFlip):
            return ViewLoader(
                train,
                augmentation,
                order,
                num_threads=max(1, self.num_workers),
            )
        return DatasetLoader(train, augmentation, order, self.num_workers)

    def _items(self, kind: str) -> Images:
        """Return a set, of which each item is looked at if items are what is asked for."""
        images = self.source.sets()[kind]
        crops = isinstance(self.source.augmentation, RandomResizedCropFlip)
        is_read_whole = crops and isinstance(images, ViewReader)
        return images if is_read_whole else checked_items(self.source, kind)

    def _evaluation_batches(
        self, kind: str, indices: Int64[Tensor, " n"], batch_size: int, *, shared: bool = True
    ) -> EvaluationBatches:
        return EvaluationBatches(
            self._items(kind),
            self.source.augmentation,
            self._share(indices, batch_size, shared=shared),
            batch_size,
            num_workers=self.num_workers,
            device=self._device(),
        )

    def _share(
        self, indices: Int64[Tensor, " n"], batch_size: int, *, shared: bool
    ) -> Int64[Tensor, " m"]:
        """Return the images of this rank's batches, or of all."""
        rank, world_size = self._rank_and_world_size() if shared else (0, 1)
        mine = torch.split(indices, batch_size)[rank::world_size]
        return torch.cat(mine) if mine else indices[:0]

    def _subset(self, field: str, size: int | None) -> Int64[Tensor, " n"]:
        indices = _permutation(self.source.train)
        if size is not None and not 0 < size <= len(indices):
            raise UserError(
                f"{field}={size}: {self.source.name} has {len(indices)} training images; "
                f"choose 1 to {len(indices)}"
            )
        return indices[:size]

    def _rank_and_world_size(self) -> tuple[int, int]:
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1

    def _device(self) -> torch.device:
        """Where a reader that can put its batches onto the accelerator itself should put them."""
        return self.trainer.strategy.root_device if self.trainer is not None else CPU


def _permutation(images: Images) -> Int64[Tensor, " n"]:
    """Mix the classes: folders come sorted, and batch statistics of one class would mislead."""
    return torch.from_numpy(fixed_permutation(len(images)))
