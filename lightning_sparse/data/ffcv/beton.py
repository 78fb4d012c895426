"""FFCV's ``.beton`` files: examined before they are trusted, read in whole batches.

Source: Leclerc et al. 2023, "FFCV: Accelerating training by removing data bottlenecks",
https://arxiv.org/abs/2306.12517, and https://github.com/libffcv/ffcv, version 1.0.2.
"""

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import IMAGE_MODES, SimpleRGBImageDecoder
from ffcv.libffcv import imdecode
from ffcv.loader import Loader, OrderOption
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.state import State
from ffcv.reader import Reader
from ffcv.transforms import ToDevice, ToTensor, ToTorchImage
from ffcv.types import (
    ALLOC_TABLE_TYPE,
    CURRENT_VERSION,
    TYPE_ID_HANDLER,
    FieldDescType,
    HeaderType,
    get_metadata_type,
)
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from lightning_sparse.data.ffcv.view_kernel import MAX_THREADS, fill_views
from lightning_sparse.data.image_folder import normalised_levels
from lightning_sparse.data.source import ChooseViews
from lightning_sparse.errors import NotHereError, UserError

IMAGE_FIELD, LABEL_FIELD = "image", "label"

_JPEG = int(IMAGE_MODES["jpg"])
_CPU = torch.device("cpu")
_BYTE = np.dtype("<u1")


def check_beton(file: Path) -> None:
    """Refuse a file that FFCV would read as nonsense, or crash on.

    FFCV itself compares the version only. Everything else that the header promises is compared
    here with the size of the file; the images themselves are not decoded.

    Raises:
        UserError: If the file is missing, of another version, unfinished, truncated, or holds other
            fields than images and labels.
    """
    again = "write it again with `make data-imagenet IMAGENET=<folder>`"
    try:
        is_there = file.is_file()
        num_bytes = file.stat().st_size if is_there else 0
        header = _first(file, HeaderType) if is_there else None
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}); make it readable for the user that "
            "this runs as"
        ) from error
    if not is_there:
        raise NotHereError(
            f"no file {file}; {again}, or name another place with data.root=<folder>"
        )
    if header is None:
        raise UserError(f"{file}: is no .beton file, it has only {num_bytes} bytes; {again}")
    if header["version"] != CURRENT_VERSION:
        raise UserError(
            f"{file}: is a .beton file of version {header['version']}, or none at all; FFCV 1.0.2 "
            f"reads version {CURRENT_VERSION}; {again}"
        )
    table_start = int(header["alloc_table_ptr"])
    if table_start == 0:
        raise UserError(f"{file}: its writing was interrupted; {again}")
    if problem := _inconsistency(file, header, num_bytes):
        raise UserError(f"{file}: is damaged or truncated ({problem}); {again}")


@final
class BetonImages:
    """The images and labels of one ``.beton`` file; a `lightning_sparse.data.source.ViewReader`.

    Attributes:
        labels: Class of each image, from 0.
    """

    labels: Int64[np.ndarray, " n"]

    def __init__(self, file: Path) -> None:
        """Open a file.

        Raises:
            UserError: If it cannot be what it says; see `check_beton`.
        """
        check_beton(file)
        self._file = file
        reader = Reader(str(file))
        rows = dict(zip(reader.field_names, reader.metadata.dtype.names, strict=True))
        self._rows = reader.metadata[rows[IMAGE_FIELD]]
        self.labels = reader.metadata[rows[LABEL_FIELD]].astype(np.int64)
        self._sizes = np.empty(len(self._rows), dtype=np.int64)
        self._sizes[reader.alloc_table["sample_id"]] = reader.alloc_table["size"]
        areas = self._rows["height"].astype(np.int64) * self._rows["width"]
        self._largest_image = 3 * int(areas.max())
        self._pipelines: dict[torch.device, _Pipeline] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], int]:
        """Decode one image in its stored size.

        Raises:
            UserError: If its bytes are damaged.
        """
        pixels = torch.from_numpy(self.pixels(index)).permute(2, 0, 1)
        return normalised_levels(pixels), int(self.labels[index])

    def pixels(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Decode one image: levels [h, w, 3].

        Raises:
            UserError: If its bytes are damaged.
        """
        row = self._rows[index]
        height, width = int(row["height"]), int(row["width"])
        stored = np.fromfile(
            self._file, _BYTE, count=int(self._sizes[index]), offset=int(row["data_ptr"])
        )
        if row["mode"] != _JPEG:
            return stored.reshape(height, width, 3)
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        if imdecode(stored, pixels, height, width, height, width):
            raise self._undecodable(index)
        return pixels

    def read_views(
        self,
        batches: Sequence[Tensor],
        choose_views: ChooseViews,
        size: int,
        *,
        num_threads: int = 1,
        device: torch.device = _CPU,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Read views of whole batches; see `lightning_sparse.data.source.ViewReader`.

        FFCV prepares three batches ahead in a thread of its own, which ends with the iteration.

        Raises:
            UserError: If the bytes of an image are damaged.
        """
        if not batches:
            return
        if device not in self._pipelines:
            self._pipelines[device] = _Pipeline(self, self._file, device)
        epoch = self._pipelines[device].start(batches, choose_views, size, num_threads)
        # FFCV sets torch's threads for the whole process when its own thread starts.
        own_threads = torch.get_num_threads()
        try:
            for images, labels in epoch:
                torch.set_num_threads(own_threads)
                # Labels are small: a copy lets them be kept.
                labels_on_device = labels[:, 0].clone().to(device, non_blocking=True)
                yield _normalised_on_device(images), labels_on_device
        finally:
            epoch.close()
            torch.set_num_threads(own_threads)
        if epoch.failure is not None:
            raise epoch.failure

    def fill(self, request: "_Request", destination: Any, file: Any) -> None:
        """Decode what a request asks for into ``destination``, [b, size, size, 3].

        Args:
            request: Which images, and what of them.
            destination: Of 32-bit floats for normalised pixels, of bytes for levels.
            file: The whole file, mapped.

        Raises:
            UserError: If the bytes of an image are damaged.
        """
        indices = request.indices
        rows = self._rows[indices]
        shapes = np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64)
        views = request.choose_views(indices, shapes[:, 0], shapes[:, 1])
        status = fill_views(
            file=np.asarray(file),
            starts=rows["data_ptr"].astype(np.int64),
            sizes=self._sizes[indices],
            is_jpeg=rows["mode"] == _JPEG,
            shapes=shapes,
            boxes=views.boxes,
            is_mirrored=views.is_mirrored,
            table=_NORMALISED if destination.dtype == np.float32 else _AS_STORED,
            largest_image=self._largest_image,
            destination=destination,
        )
        if status.any():
            raise self._undecodable(int(indices[np.abs(status).argmax()]))

    def _undecodable(self, index: int) -> UserError:
        """Say which image is damaged."""
        return UserError(
            f"{self._file}: image {index} cannot be decoded; the file is damaged, write it again "
            "with `make data-imagenet IMAGENET=<folder>`"
        )


@dataclass(frozen=True, eq=False)
class _Request:
    """One batch that is asked for; FFCV hands it to the decoders in the place of indices."""

    indices: Int64[np.ndarray, " b"]
    choose_views: ChooseViews

    def __len__(self) -> int:
        return len(self.indices)


_LOOKS_EVERY = 0.01  # seconds


class _Requests:
    """A whole epoch in the place of FFCV's order, which it cuts into batches by slicing."""

    def __init__(self, batches: Sequence[Tensor], choose_views: ChooseViews) -> None:
        self._batches = batches
        self._choose_views = choose_views
        self.batch_size = len(batches[0])

    def __len__(self) -> int:
        return sum(len(batch) for batch in self._batches)

    def __getitem__(self, part: slice) -> _Request:
        return _Request(self._batches[part.start // self.batch_size].numpy(), self._choose_views)


class _Epoch(EpochIterator):  # type: ignore[misc]
    """FFCV's iteration, whose thread ends: also by an exception, and when nobody reads any more."""

    iter_ixes: Iterator[_Request]

    def __init__(self, loader: Loader, order: _Requests) -> None:
        self.failure: BaseException | None = None
        super().__init__(loader, order)

    @property
    def is_over(self) -> bool:
        """Whether nothing is written any more, and nothing waits to be read."""
        return self.terminate_event.is_set() and not self.is_alive()

    def run(self) -> None:
        self.iter_ixes = self._leaving_room(self.iter_ixes)
        try:
            super().run()
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits for a batch)
            self.failure = error
            self.output_queue.put(None)

    def _leaving_room(self, batches: Iterator[_Request]) -> Iterator[_Request]:
        """Pass on all batches; then wait for room for FFCV's sign of the end.

        FFCV puts it without a look at whether anybody is left to make room.
        """
        yield from batches
        while self.output_queue.full():
            if self.terminate_event.wait(_LOOKS_EVERY):
                with contextlib.suppress(queue.Empty):
                    self.output_queue.get_nowait()


@final
class _Pipeline:
    """FFCV's loader of one file onto one device."""

    def __init__(self, images: BetonImages, file: Path, device: torch.device) -> None:
        to_device = [] if device.type == "cpu" else [ToDevice(device)]
        # On an accelerator, levels travel as bytes and are normalised there.
        self._decoder = _ViewDecoder(images, np.dtype("<u1" if to_device else "<f4"))
        with _uncompiled():
            self._loader = Loader(
                str(file),
                batch_size=1,
                num_workers=1,
                os_cache=True,
                order=OrderOption.SEQUENTIAL,
                seed=0,  # not used, but FFCV would draw one from the global generator
                drop_last=False,
                pipelines={
                    IMAGE_FIELD: [self._decoder, ToTensor(), *to_device, ToTorchImage()],
                    LABEL_FIELD: [_LabelDecoder(), ToTensor()],
                },
            )

        self._memory: _Memory | None = None
        if not to_device:
            self._allocate = self._loader.graph.allocate_memory
            self._loader.graph.allocate_memory = self._memory_for

    def _memory_for(self, batch_size: int, num_batches: int) -> Any:
        """Return the memory of the last iteration if nobody reads it any more, else new memory.

        FFCV takes new memory for every epoch; the kernel hands it out page by page, which takes as
        long as reading does. On an accelerator it might still be read, and is FFCV's own affair.
        """
        size = (batch_size, num_batches, self._decoder.size)
        memory = self._memory
        if memory is None or memory.size != size or not memory.epoch.is_over:
            return self._allocate(batch_size, num_batches)
        return memory.epoch.memory_allocations

    def start(
        self, batches: Sequence[Tensor], choose_views: ChooseViews, size: int, num_threads: int
    ) -> _Epoch:
        order = _Requests(batches, choose_views)
        # These are read while the iteration is made, and not again: others may be under way.
        self._decoder.size = size
        self._loader.batch_size = order.batch_size
        self._loader.num_workers = min(num_threads, MAX_THREADS)
        epoch = _Epoch(self._loader, order)
        self._memory = _Memory((order.batch_size, self._loader.batches_ahead + 2, size), epoch)
        return epoch


@dataclass(frozen=True, eq=False)
class _Memory:
    """What an iteration writes its batches to.

    Attributes:
        size: Images of a batch, batches, height and width of an image.
        epoch: The iteration.
    """

    size: tuple[int, int, int]
    epoch: _Epoch


class _ViewDecoder(SimpleRGBImageDecoder):  # type: ignore[misc]
    """FFCV's operation that fills a batch of images; ``size`` is asked for at each iteration."""

    def __init__(self, images: BetonImages, dtype: np.dtype) -> None:
        super().__init__()
        self.size = 1
        self._images = images
        self._dtype = dtype

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        shape = (self.size, self.size, 3)
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=self._dtype)
        return state, AllocationQuery(shape, self._dtype)

    def generate_code(self) -> Callable[..., Any]:
        def decode(request: _Request, destination: Any, _: Any, storage_state: Any) -> Any:
            self._images.fill(request, destination[: len(request)], storage_state[0])
            return destination[: len(request)]

        return decode


class _LabelDecoder(IntDecoder):  # type: ignore[misc]
    """FFCV's operation that fills a batch of labels."""

    def generate_code(self) -> Callable[..., Any]:
        def decode(request: _Request, destination: Any, metadata: Any, *_: Any) -> Any:
            destination[: len(request), 0] = metadata[request.indices]
            return destination[: len(request)]

        return decode


def _normalised_on_device(images: Tensor) -> Tensor:
    return images if images.dtype == torch.float32 else normalised_levels(images)


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Let FFCV call its operations as they are: the one inner loop is compiled already.

    Undoes what FFCV's constructors do to the number of threads of the whole process.
    """
    was_enabled, num_threads = Compiler.is_enabled, torch.get_num_threads()
    Compiler.set_enabled(False)
    try:
        yield
    finally:
        Compiler.set_enabled(was_enabled)
        torch.set_num_threads(num_threads)


# Value of each level in each channel, [256, 3].
_AS_STORED = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
_NORMALISED = normalised_levels(torch.from_numpy(_AS_STORED)[..., None, None])[..., 0, 0].numpy()


def _first(file: Path, dtype: np.dtype) -> Any:
    """Read one value from the start of a file; None if the file is too short."""
    values = np.fromfile(file, dtype=dtype, count=1)
    return values[0] if len(values) else None


def _inconsistency(file: Path, header: Any, num_bytes: int) -> str | None:
    """Say in which way the parts of a file contradict each other; None if they do not."""
    num_images, table_start = int(header["num_samples"]), int(header["alloc_table_ptr"])
    if table_start + num_images * ALLOC_TABLE_TYPE.itemsize != num_bytes:
        return f"it has {num_bytes} bytes, not those of {num_images} images"
    fields = np.fromfile(
        file, FieldDescType, count=int(header["num_fields"]), offset=HeaderType.itemsize
    )
    names = [bytes(field["name"]).rstrip(b"\0").decode("ascii", "replace") for field in fields]
    kinds = [TYPE_ID_HANDLER.get(int(field["type_id"])) for field in fields]
    expected = {IMAGE_FIELD: RGBImageField, LABEL_FIELD: IntField}
    if dict(zip(names, kinds, strict=True)) != expected:
        return f"its fields are {', '.join(names)}; expected an RGB image and an integer label"
    rows = np.fromfile(
        file,
        get_metadata_type([kind() for kind in kinds if kind]),
        count=num_images,
        offset=HeaderType.itemsize + fields.nbytes,
    )
    table = np.fromfile(file, ALLOC_TABLE_TYPE, offset=table_start)
    return _inconsistent_images(
        rows[rows.dtype.names[names.index(IMAGE_FIELD)]], table, table_start
    )


def _inconsistent_images(images: Any, table: Any, table_start: int) -> str | None:
    table = table[np.argsort(table["sample_id"], kind="stable")]
    if len(images) == 0:
        return "it holds no image"
    if not np.array_equal(table["sample_id"], np.arange(len(images))):
        return "images are missing from its table"
    if not np.array_equal(table["ptr"], images["data_ptr"]):
        return "its table and its images disagree"
    if (table["ptr"] + table["size"] > table_start).any():
        return "images lie outside of it"
    pixels = images["height"].astype(np.uint64) * images["width"] * np.uint64(3)
    is_raw = images["mode"] != _JPEG
    if (pixels == 0).any() or (pixels[is_raw] != table["size"][is_raw]).any():
        return "the sizes of its images are wrong"
    return None
