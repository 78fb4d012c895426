"""Batches in an order that is a function of (seed, epoch) and a place in it that can be saved.

Training loaders know their position as one integer, so a run can go on at any optimizer step;
evaluation goes over every image once, in one fixed order.
"""

import contextlib
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate
from typing_extensions import override

from lightning_sparse.data.augmentation import (
    AbstractAugmentation,
    RandomResizedCropFlip,
    Views,
)
from lightning_sparse.data.draws import uniform_draws
from lightning_sparse.data.prefetch import one_ahead
from lightning_sparse.data.source import ImageDataset, Images, TensorImages, ViewReader
from lightning_sparse.errors import UserError, as_line, theirs
from lightning_sparse.process.preemption import begin_loader
from lightning_sparse.streams import stream_generator, stream_seed

Batch = tuple[Tensor, Tensor]

# Augmenting the images of several small batches at once hides the cost of the calls.
_CHUNK_ELEMENTS = 2**16

CPU = torch.device("cpu")

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 (where torch puts batches that change processes)


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """Which images each batch of each epoch holds, on one rank.

    An epoch's global batches are consecutive slices of one permutation of all images, and each rank
    takes its own slice of each: no image comes twice, and the images of a step do not depend on how
    many ranks, or batches one after another, share them. The last, incomplete global batch is
    dropped; for that an optimizer step's accumulated batches are one.

    Attributes:
        num_images: Size of the training set.
        batch_size: Images per step and rank.
        seed: Names the run's random streams.
        rank: Which rank this is, from 0.
        world_size: Number of ranks.
        batches_per_step: Batches whose gradients one optimizer step accumulates.

    Raises:
        UserError: If one global batch does not fit into the training set.
    """

    num_images: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    batches_per_step: int = 1

    def __post_init__(self) -> None:
        """Refuse an epoch without a batch."""
        images_per_step = self.batch_size * self.world_size * self.batches_per_step
        if not 0 < images_per_step <= self.num_images:
            times = f", {self.batches_per_step} times a step" if self.batches_per_step > 1 else ""
            ranks = f" on each of {self.world_size} ranks" if self.world_size > 1 else ""
            raise UserError(
                f"batch_size={self.batch_size}{ranks}{times}: the training set has "
                f"{self.num_images} images; choose a batch that fits into it"
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        images_per_step = self.batch_size * self.world_size * self.batches_per_step
        return self.num_images // images_per_step * self.batches_per_step

    def batches(self, epoch: int) -> Int64[Tensor, "num_batches batch_size"]:
        """Return the image indices of every batch of an epoch."""
        order = torch.randperm(
            self.num_images, generator=stream_generator(self.seed, "order", epoch)
        )
        used = order[: len(self) * self.world_size * self.batch_size]
        return used.view(len(self), self.world_size, self.batch_size)[:, self.rank]


@dataclass(frozen=True, kw_only=True)
class FixedOrder(EpochOrder):
    """The same batches in every epoch, whose variations still are the epoch's.

    Attributes:
        indices: Which images each batch holds, all batches of one size.
    """

    indices: Int64[Tensor, "num_batches batch_size"]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.indices)

    def batches(self, epoch: int) -> Int64[Tensor, "num_batches batch_size"]:
        """Return the image indices of every batch."""
        return self.indices


class AbstractTrainingLoader(ABC):
    """An endless sequence of training batches with a position; iterating runs to the epoch's end.

    Lightning saves and restores the position through `state_dict` and `load_state_dict`. It counts
    the batches that were given out, not those that are on their way to an accelerator.

    Attributes:
        device: Where the batches are wanted; see `lightning_sparse.data.prefetch`.
    """

    def __init__(self, order: EpochOrder) -> None:
        self.order = order
        self.device = CPU
        self._position = 0

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch, whatever the position."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Go on at the position; the next iteration then begins the next epoch."""
        epoch, first = divmod(self._position, len(self))
        batches = one_ahead(self._batches(epoch, first), self.device)
        for position, batch in enumerate(batches, start=self._position + 1):
            # Before the yield: Lightning counts to the length and never asks again after the last
            # batch, so a checkpoint taken there must already stand at the next epoch.
            self._position = position
            yield batch

    def seek(self, position: int) -> None:
        """Go to the place after ``position`` batches, counted from the start of epoch 0."""
        self._position = position

    def state_dict(self) -> dict[str, int]:
        """Return the position and what it depends on."""
        return {"position": self._position, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a saved position.

        Raises:
            UserError: If it was saved with other data, batches, seed or number of ranks.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise UserError(
                    f"{name}={value}: the checkpoint was written with {state.get(name)}, on which "
                    "its place in the data depends; resume with the same value"
                )
        self.seek(state["position"])

    def close(self) -> None:  # noqa: B027 (most have nothing to end)
        """End what works for this loader; iterating again begins it anew."""

    @abstractmethod
    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of ``epoch`` from batch ``first`` on."""

    def _identity(self) -> dict[str, int]:
        return {
            "num_images": self.order.num_images,
            "batch_size": self.order.batch_size,
            "seed": self.order.seed,
            "world_size": self.order.world_size,
            "batches_per_step": self.order.batches_per_step,
        }


@final
class TensorLoader(AbstractTrainingLoader):
    """Training batches from images in memory, augmented in this process."""

    def __init__(
        self, images: TensorImages, augmentation: AbstractAugmentation, order: EpochOrder
    ) -> None:
        super().__init__(order)
        self._images = images
        self._augmentation = augmentation
        batches = _CHUNK_ELEMENTS // (order.batch_size * images.images[0].numel())
        self._batches_per_chunk = max(1, batches)

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        augmentation = self._augmentation.at_epoch(epoch)
        remaining = self.order.batches(epoch)[first:]
        for batches in torch.split(remaining, self._batches_per_chunk):
            indices = batches.flatten()
            draws = _augmentation_draws(augmentation, self.order.seed, epoch, indices.numpy())
            images = augmentation.augment(self._images.images[indices], torch.from_numpy(draws))
            labels = self._images.labels[indices]
            yield from zip(
                torch.split(images, self.order.batch_size),
                torch.split(labels, self.order.batch_size),
                strict=True,
            )


@final
class DatasetLoader(AbstractTrainingLoader):
    """The same batches as `TensorLoader`'s, from a data set that makes its images one by one."""

    def __init__(
        self,
        dataset: ImageDataset,
        augmentation: AbstractAugmentation,
        order: EpochOrder,
        num_workers: int = 0,
    ) -> None:
        super().__init__(order)
        self._sampler = _EpochSampler(order)
        self._loader = DataLoader(
            _AugmentedImages(dataset, augmentation, order.seed),
            batch_sampler=self._sampler,
            # One of its own: otherwise every epoch advances the global generator of the network.
            generator=torch.Generator(),
            **_worker_options(num_workers),
        )

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        self._sampler.epoch, self._sampler.first = epoch, first
        yield from _batches_or_error(self._loader)

    @override
    def close(self) -> None:
        """End the loader processes, which otherwise wait for the next epoch."""
        # Torch has no public way; it does the same at exit, where batches are pinned.
        loader = vars(self._loader)
        if (iterator := loader["_iterator"]) is not None:
            iterator._shutdown_workers()  # noqa: SLF001
            loader["_iterator"] = None


@final
class ViewLoader(AbstractTrainingLoader):
    """The same views as `DatasetLoader`'s, from a data set that reads whole batches by itself.

    A batch is good until the next one is asked for; what is kept longer must be copied.
    """

    def __init__(
        self,
        images: ViewReader,
        augmentation: RandomResizedCropFlip,
        order: EpochOrder,
        *,
        num_threads: int = 1,
    ) -> None:
        super().__init__(order)
        self._images = images
        self._augmentation = augmentation
        self._num_threads = num_threads

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        augmentation = self._augmentation.at_epoch(epoch)

        def choose_views(
            indices: Int64[np.ndarray, " b"],
            heights: Int64[np.ndarray, " b"],
            widths: Int64[np.ndarray, " b"],
        ) -> Views:
            draws = _augmentation_draws(augmentation, self.order.seed, epoch, indices)
            return augmentation.random_views(heights, widths, draws)

        yield from self._images.read_views(
            self.order.batches(epoch)[first:].unbind(),
            choose_views,
            augmentation.size,
            num_threads=self._num_threads,
            device=self.device,
        )


@final
class AugmentedBatches:
    """Training batches of one epoch, however often they are gone through.

    Attributes:
        num_images: How many images there are in all batches together.
    """

    def __init__(self, loader: AbstractTrainingLoader, epoch: int) -> None:
        self.num_images = len(loader) * loader.order.batch_size
        self._loader = loader
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._loader)

    @property
    def smallest(self) -> int:
        """Number of images in every batch."""
        return self._loader.order.batch_size

    def __iter__(self) -> Iterator[Batch]:
        """Yield images and labels."""
        self._loader.seek(self._epoch * len(self._loader))
        return iter(self._loader)


@final
class EvaluationBatches:
    """Every chosen image once, not augmented, always in the same order.

    The last batch may be smaller. Nothing is padded or repeated, so counts are exact.

    Attributes:
        num_images: How many images there are in all batches together.
    """

    def __init__(
        self,
        images: Images,
        augmentation: AbstractAugmentation,
        indices: Int64[Tensor, " n"],
        batch_size: int,
        *,
        num_workers: int = 0,
        device: torch.device = CPU,
    ) -> None:
        self.num_images = len(indices)
        self._images = images
        self._augmentation = augmentation
        self._batches = torch.split(indices, batch_size) if len(indices) else ()
        self._num_workers = num_workers
        self._device = device

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    @property
    def smallest(self) -> int:
        """Number of images in the smallest batch; 0 if there is none."""
        return min((len(indices) for indices in self._batches), default=0)

    def __iter__(self) -> Iterator[Batch]:
        """Yield images and labels."""
        if isinstance(self._images, TensorImages):
            for indices in self._batches:
                images = self._augmentation.plain(self._images.images[indices])
                yield images, self._images.labels[indices]
        elif isinstance(self._images, ViewReader) and isinstance(
            self._augmentation, RandomResizedCropFlip
        ):
            yield from self._views(self._images, self._augmentation)
        else:
            yield from self._decoded(self._images)

    def _views(self, images: ViewReader, augmentation: RandomResizedCropFlip) -> Iterator[Batch]:
        yield from images.read_views(
            self._batches,
            lambda _, heights, widths: augmentation.central_views(heights, widths),
            augmentation.size,
            num_threads=max(1, self._num_workers),
            device=self._device,
        )

    def _decoded(self, dataset: ImageDataset) -> Iterator[Batch]:
        loader = DataLoader(
            _PlainImages(dataset, self._augmentation),
            batch_sampler=_FixedSampler(self._batches),
            generator=torch.Generator(),
            **_worker_options(self._num_workers, persistent=False),
        )
        yield from _batches_or_error(loader)


@contextlib.contextmanager
def loader_deaths_said() -> Iterator[None]:
    """Turn the death of a loader process into one line, wherever it is noticed in the block.

    Raises:
        UserError: With what it may have been for want of, and what to do.
    """
    try:
        yield
    except RuntimeError as error:
        # Raised by torch's handler of SIGCHLD, hence anywhere.
        if "DataLoader worker" not in str(error):
            raise
        said = str(error).partition(" It is possible")[0]
        if "Bus error" in said:
            raise _loader_death(said, f"for want of {_shared_memory()}") from error
        raise _loader_death(said) from error


def _loader_death(said: str, cause: str = "perhaps for want of memory") -> UserError:
    return UserError(
        f"a loader process ended ({as_line(said)}), {cause}; start the same command again to go "
        "on, with fewer num_workers, or none, if it happens again"
    )


def _shared_memory() -> str:
    """Say how much memory batches can be handed over in."""
    try:
        size = f", {shutil.disk_usage(_SHARED_MEMORY).total / 1e6:.0f} MB"
    except OSError:
        size = ""
    return f"shared memory ({_SHARED_MEMORY}{size}; for a container --shm-size=8g gives more)"


FixedBatches = AugmentedBatches | EvaluationBatches


class _EpochSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index): an image's draws depend on both, also in another process."""

    def __init__(self, order: EpochOrder) -> None:
        self.order = order
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for indices in self.order.batches(self.epoch)[self.first :]:
            yield [(self.epoch, index) for index in indices.tolist()]


class _FixedSampler(Sampler[list[int]]):
    def __init__(self, batches: tuple[Tensor, ...]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return (indices.tolist() for indices in self.batches)


_Item = tuple[Tensor, int]


class _Items(Dataset[_Item | UserError]):
    """Items for a DataLoader; an error is handed over in the place of one.

    Raised in a loader process, it would come out with the whole traceback for its message.
    """

    @abstractmethod
    def item(self, key: Any) -> _Item:
        """Make one item."""

    @final
    def __getitem__(self, key: Any) -> _Item | UserError:
        try:
            return self.item(key)
        except UserError as error:
            return error


def _batch_or_error(items: Sequence[_Item | UserError]) -> Batch | UserError:
    """Stack items, in a loader process if there are any."""
    for item in items:
        if isinstance(item, UserError):
            return item
    try:
        with theirs("images of one batch, once augmented, cannot be stacked"):
            images, labels = default_collate(list(items))
    except UserError as error:
        if "shared memory" in str(error):
            return UserError(
                f"a loader process found no room for a batch in {_shared_memory()}; give it more, "
                "or set num_workers or batch_size lower, num_workers=0 if need be"
            )
        return error
    return images, labels


def _batches_or_error(loader: Iterable[Batch | UserError]) -> Iterator[Batch]:
    try:
        batches = iter(loader)
    except OSError as error:
        raise UserError(
            f"no loader process can be started ({error}), perhaps for want of {_shared_memory()}; "
            "set num_workers=0 to do without"
        ) from error
    for batch in _received(batches):
        if isinstance(batch, UserError):
            raise batch
        # Pinned, it is a list.
        images, labels = batch
        yield images, labels


def _received(batches: Iterator[Batch | UserError]) -> Iterator[Batch | UserError]:
    """Take batches from loader processes, of which one can end in the middle of handing one over.

    What was cut off is then noticed here, perhaps before torch hears of the end.
    """
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (ConnectionError, EOFError) as error:
            raise _loader_death(f"while it handed over a batch: {error}") from error
        yield batch


class _AugmentedImages(_Items):
    def __init__(
        self, dataset: ImageDataset, augmentation: AbstractAugmentation, seed: int
    ) -> None:
        self.dataset = dataset
        self.augmentation = augmentation
        self.seed = seed

    def item(self, key: tuple[int, int]) -> _Item:
        epoch, index = key
        image, label = self.dataset[index]
        with theirs(f"augmentation of training image {index}"):
            augmentation = self.augmentation.at_epoch(epoch)
            draws = _augmentation_draws(augmentation, self.seed, epoch, np.array([index]))
            return augmentation.augment(image[None], torch.from_numpy(draws))[0], label


class _PlainImages(_Items):
    def __init__(self, dataset: ImageDataset, augmentation: AbstractAugmentation) -> None:
        self.dataset = dataset
        self.augmentation = augmentation

    def item(self, key: int) -> _Item:
        image, label = self.dataset[key]
        with theirs(f"view of image {key}"):
            return self.augmentation.plain(image[None])[0], label


def _augmentation_draws(
    augmentation: AbstractAugmentation, seed: int, epoch: int, indices: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, "n num_draws"]:
    key = stream_seed(seed, "augment", epoch)
    return uniform_draws(key, indices, augmentation.num_draws)


def _worker_options(num_workers: int, *, persistent: bool = True) -> dict[str, Any]:
    return {
        "num_workers": num_workers,
        # Elsewhere than in the first process another way may be set, which imports all anew.
        "multiprocessing_context": "fork" if num_workers and sys.platform == "linux" else None,
        "collate_fn": _batch_or_error,
        "worker_init_fn": begin_loader,
        "persistent_workers": persistent and num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
