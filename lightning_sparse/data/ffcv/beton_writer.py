"""Image folders written as FFCV's ``.beton`` files: all of a file, checked, or none of it."""

import contextlib
import json
import multiprocessing
import operator
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import SupportsIndex, final

import cv2
import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.rgb_image import resizer
from ffcv.writer import MIN_PAGE_SIZE, DatasetWriter
from jaxtyping import Int8, UInt8

from lightning_sparse.data.decoding import CorruptImageError, decoded
from lightning_sparse.data.ffcv.beton import IMAGE_FIELD, LABEL_FIELD, BetonImages
from lightning_sparse.errors import UserError, as_line
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.process.preemption import end_with_parent

Sample = tuple[str, int]

_MODES = ("jpg", "raw", "proportion")
_MAX_RESOLUTION = 8192
_NUM_SAMPLED = 64
_NUM_COMPARED = 16
# JPEG changes single levels by more than this, but not the mean of an image.
_MEAN_LEVEL_TOLERANCE = 16.0
_NUM_NAMED = 5

_DECODED, _CORRUPT, _REFUSED = 1, 2, 3

_START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class BetonSettings:
    """How images are stored.

    Attributes:
        max_resolution: Longest side in pixels; larger images are shrunk by averaging areas.
        mode: ``jpg``, ``raw`` (faster to read, some ten times larger) or ``proportion``: a JPEG
            with probability ``compress_probability``.
        jpeg_quality: From 1 to 100.
        compress_probability: In [0, 1]; which images are compressed depends on their index alone.

    Raises:
        UserError: If a value is out of range.
    """

    max_resolution: int = 500
    mode: str = "proportion"
    jpeg_quality: int = 90
    compress_probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what FFCV would only stumble over in one of its processes."""
        if self.mode not in _MODES:
            raise UserError(f"mode={self.mode}: choose one of {', '.join(_MODES)}")
        if not 1 <= self.max_resolution <= _MAX_RESOLUTION:
            raise UserError(
                f"max_resolution={self.max_resolution}: must be from 1 to {_MAX_RESOLUTION} pixels"
            )
        if not 1 <= self.jpeg_quality <= 100:  # noqa: PLR2004 (the scale of JPEG)
            raise UserError(f"jpeg_quality={self.jpeg_quality}: must be from 1 to 100")
        if not 0 <= self.compress_probability <= 1:
            raise UserError(f"compress_probability={self.compress_probability}: must lie in [0, 1]")

    def field(self) -> RGBImageField:
        """Build FFCV's field."""
        return RGBImageField(
            write_mode=self.mode,
            max_resolution=self.max_resolution,
            jpeg_quality=self.jpeg_quality,
            compress_probability=self.compress_probability,
        )

    def page_size(self) -> int:
        """Bytes of a page of the file, which must hold the largest image: a power of two."""
        return max(4 * int(MIN_PAGE_SIZE), 1 << (3 * self.max_resolution**2 - 1).bit_length())


def write_beton(
    samples: Sequence[Sample],
    file: Path,
    settings: BetonSettings,
    *,
    root: Path,
    num_workers: int,
    skip_corrupt: bool = False,
) -> list[str]:
    """Write images and labels to ``file`` in the order given, with FFCV's own writer.

    The file is written aside, checked (count, labels, some images decoded and compared) and then
    renamed. Beside it goes ``<file>.json``: settings, number of images and what was left out.

    Args:
        samples: Image files and their classes.
        file: Where to write; replaced if it is there.
        settings: How images are stored.
        root: Folder that the names of left-out images are relative to.
        num_workers: Processes that encode.
        skip_corrupt: Leave out images that cannot be decoded, instead of refusing to go on.

    Returns:
        Names of the images that were left out.

    Raises:
        UserError: If an image cannot be decoded, the disk is too small or full, or what was written
            does not hold what it should.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    _check_disk(samples, file, settings, num_workers)
    aside = file.with_name(f".{file.name}.part")
    skipped: list[str] = []
    try:
        corrupt = _write(samples, aside, settings, num_workers, skip_corrupt=skip_corrupt)
        if corrupt:
            # FFCV fixes the number of images when it starts, so the rest is written again.
            skipped = [_relative(samples[index][0], root) for index in corrupt]
            left_out = set(corrupt)
            samples = [sample for n, sample in enumerate(samples) if n not in left_out]
            _write(samples, aside, settings, num_workers, skip_corrupt=False)
        _check_written(samples, aside, settings)
        note = {**asdict(settings), "num_images": len(samples), "skipped": skipped}
        write_text_atomic(note_file(file), json.dumps(note, indent=1) + "\n")
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return skipped


def note_file(file: Path) -> Path:
    """Where it stands what a ``.beton`` file holds and what was left out."""
    return file.with_name(f"{file.name}.json")


def _write(
    samples: Sequence[Sample],
    file: Path,
    settings: BetonSettings,
    num_workers: int,
    *,
    skip_corrupt: bool,
) -> list[int]:
    """Write a file; returns the indices of images that could not be decoded."""
    if not samples:
        raise UserError("every image is corrupt; nothing to write")
    encodable = _Encodable(samples, settings.max_resolution)
    writer = DatasetWriter(
        str(file),
        {IMAGE_FIELD: settings.field(), LABEL_FIELD: IntField()},
        page_size=settings.page_size(),
        num_workers=num_workers,
    )

    def trouble() -> str | None:
        unusable = encodable.refused() or ([] if skip_corrupt else encodable.corrupt())
        return _reasons([samples[index][0] for index in unusable[:_NUM_NAMED]])

    with _supervised(writer, encodable, trouble):
        # Small pieces of work keep the processes busy to the end, and progress is seen sooner.
        writer.from_indexed_dataset(encodable, chunksize=max(1, min(100, len(samples) // 100)))
    if problem := trouble():
        raise UserError(problem)
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    return encodable.corrupt()


def _reasons(files: Sequence[str]) -> str | None:
    """Say why the first of some files cannot be used, and name the others; None if there are none.

    The process that found out could only leave a mark.
    """
    if not files:
        return None
    others = f" (so are {', '.join(map(as_line, files[1:]))})" if files[1:] else ""
    try:
        decoded(files[0])
    except CorruptImageError as error:
        return f"{error}, or leave it out with skip_corrupt=true{others}"
    except UserError as error:
        return f"{error}{others}"
    return f"{as_line(files[0])}: could not be read a moment ago; start again{others}"


@final
class _Encodable:
    """Decoded images for FFCV's processes; one that cannot be used is noted and replaced.

    It must not raise: FFCV would wait for the process for ever.
    """

    def __init__(self, samples: Sequence[Sample], max_resolution: int) -> None:
        self._samples = samples
        self._max_resolution = max_resolution
        self._user = os.getpid()
        self._outcomes = multiprocessing.Array("b", len(samples), lock=False)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: SupportsIndex) -> tuple[UInt8[np.ndarray, "h w 3"], int]:
        index = operator.index(number)
        if self._user != os.getpid():
            # FFCV's processes would wait for more images for ever.
            self._user = os.getpid()
            end_with_parent()
        file, label = self._samples[index]
        # In a process of FFCV's own: whether this image is compressed hangs on its index alone.
        np.random.seed(index)  # noqa: NPY002, TID251
        try:
            pixels, outcome = _not_too_thin(decoded(file), self._max_resolution), _DECODED
        except UserError as error:
            pixels = np.zeros((1, 1, 3), dtype=np.uint8)
            outcome = _CORRUPT if isinstance(error, CorruptImageError) else _REFUSED
        self._outcomes[index] = outcome
        return pixels, label

    def corrupt(self) -> list[int]:
        """Indices of the images that could not be decoded so far."""
        return np.flatnonzero(self._seen() == _CORRUPT).tolist()

    def refused(self) -> list[int]:
        """Indices of those that are not damaged, but cannot be used all the same."""
        return np.flatnonzero(self._seen() == _REFUSED).tolist()

    def is_complete(self) -> bool:
        """Whether every image has been asked for."""
        return bool(self._seen().all())

    def _seen(self) -> Int8[np.ndarray, " n"]:
        return np.frombuffer(self._outcomes, dtype=np.int8)


_WAKE = signal.SIGUSR2


class _Stopped(BaseException):
    """Raised in the main thread by the watch; nothing that handles errors may swallow it."""


@contextlib.contextmanager
def _supervised(
    writer: DatasetWriter, encodable: _Encodable, trouble: Callable[[], str | None]
) -> Iterator[None]:
    """End the writing when one of its processes dies, which FFCV would wait for.

    Call it on the main thread, which is woken by a signal of our own: Ctrl-C's may be ignored, as
    it is in what a script has started in the background.
    """

    def stop(*_: object) -> None:
        raise _Stopped

    before = signal.signal(_WAKE, stop)
    others = set(multiprocessing.active_children())
    watch = _Watch(others, encodable, trouble)
    watch.start()
    try:
        yield
    except _Stopped:
        raise UserError(str(watch.problem)) from None
    finally:
        watch.done.set()
        watch.join()
        signal.signal(_WAKE, before)
        for process in set(multiprocessing.active_children()) - others:
            # Not terminate: the first SIGTERM is meant for this process, and spared there.
            process.kill()
            process.join()
        metadata = getattr(writer, "metadata_sm", None)
        if metadata is not None:
            with contextlib.suppress(FileNotFoundError, BufferError):
                metadata.close()
                metadata.unlink()


class _Watch(threading.Thread):
    """Looks at the processes of a writer until it is done."""

    def __init__(
        self,
        others: set[BaseProcess],
        encodable: _Encodable,
        trouble: Callable[[], str | None],
    ) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.problem: str | None = None
        self._others = others
        self._encodable = encodable
        self._trouble = trouble
        self._seen: set[BaseProcess] = set()
        self._begun = time.monotonic()

    def run(self) -> None:
        """Interrupt the main thread at the first trouble, again if it did not notice."""
        while not self.done.wait(1.0 if self.problem else 0.2):
            self.problem = self.problem or self._trouble() or self._death()
            if self.problem:
                signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)

    def _death(self) -> str | None:
        alive = set(multiprocessing.active_children()) - self._others
        self._seen |= alive
        codes = [process.exitcode for process in self._seen if process.exitcode]
        # One that dies at once may never be seen; then work is left over and nobody to do it.
        has_begun = self._seen or time.monotonic() - self._begun > _START_SECONDS
        if not codes and (alive or not has_begun or self._encodable.is_complete()):
            return None
        status = f"with status {codes[0]}" if codes else "early"
        return (
            f"a process that encodes images ended {status} (its own message, if any, stands "
            "above); see whether disk and memory suffice, or set num_workers lower"
        )


def _check_disk(
    samples: Sequence[Sample], file: Path, settings: BetonSettings, num_workers: int
) -> None:
    """Estimate the size of the file from some of its images, and compare with what is free."""
    field = settings.field()
    sizes: list[int] = []

    def allocate(size: int) -> tuple[int, UInt8[np.ndarray, " n"]]:
        sizes.append(size)
        return 0, np.empty(size, dtype=np.uint8)

    for index in _spread(len(samples), _NUM_SAMPLED):
        with contextlib.suppress(UserError):
            row = np.zeros(1, dtype=field.metadata_type)
            pixels = _not_too_thin(decoded(samples[index][0]), settings.max_resolution)
            field.encode(row[0], pixels, allocate)
    pages = num_workers * settings.page_size()
    needed = int(1.1 * len(samples) * float(np.mean(sizes or [0]))) + pages
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise UserError(
            f"{file} needs about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on its "
            "disk; name another place with out=<folder>, or lower max_resolution, jpeg_quality or "
            "num_workers"
        )


def _check_written(samples: Sequence[Sample], file: Path, settings: BetonSettings) -> None:
    """Read back: the count, every label, and some images compared with their files."""
    images = BetonImages(file)
    if images.labels.tolist() != [label for _, label in samples]:
        raise UserError(f"{file}: does not hold the images that were written; write it again")
    for index in _spread(len(samples), _NUM_COMPARED):
        source, stored = decoded(samples[index][0]), images.pixels(index)
        limit = settings.max_resolution
        expected = resizer(_not_too_thin(source, limit), limit)
        difference = np.abs(stored.mean(axis=(0, 1)) - expected.mean(axis=(0, 1)))
        if stored.shape != expected.shape or difference.max() > _MEAN_LEVEL_TOLERANCE:
            raise UserError(
                f"{file}: image {index} is not that of {samples[index][0]}; write it again"
            )


def _not_too_thin(
    pixels: UInt8[np.ndarray, "h w 3"], limit: int
) -> UInt8[np.ndarray, "new_h new_w 3"]:
    """Shrink an image here of which FFCV's `resizer` would leave less than one row or column."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer <= limit or min(height, width) * limit > longer:
        return pixels
    size = (max(1, width * limit // longer), max(1, height * limit // longer))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _spread(count: int, num_chosen: int) -> list[int]:
    """Choose up to ``num_chosen`` of ``count`` places, evenly spread.

    Example:
        >>> _spread(100, 4)
        [0, 33, 66, 99]
    """
    return sorted(set(np.linspace(0, count - 1, min(count, num_chosen)).astype(int).tolist()))


def _relative(file: str, root: Path) -> str:
    return Path(file).relative_to(root).as_posix()
