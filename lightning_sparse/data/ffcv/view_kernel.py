"""The inner loop of reading a ``.beton`` file: decode, cut, resize, mirror, translate.

Compiled by numba once per machine and kept on disk: FFCV compiles its own operations anew in every
process, which takes some ten seconds. FFCV's C function is therefore called by name instead of by
address, which would differ in the next process.

Resized is each axis by itself: a shrunk one by the mean over what a pixel covers, as FFCV does it,
an enlarged one between the centres of neighbouring pixels, as torchvision does it. Rounded to
levels once, at the end. FFCV's own function (OpenCV's ``INTER_AREA``) gives the same levels, but
for one in either direction, and takes nearly twice as long.
"""

import ctypes
import math
import threading
import warnings
from typing import no_type_check

import numpy as np
from ffcv.libffcv import lib
from jaxtyping import Bool, Int32, Int64, Shaped, UInt8
from llvmlite import binding
from numba import config, get_thread_id, njit, prange, types

_I32, _U32, _U64, _BOOL = types.int32, types.uint32, types.uint64, types.boolean

binding.add_symbol(
    "lightning_sparse_ffcv_imdecode", ctypes.cast(lib.imdecode, ctypes.c_void_p).value
)
_imdecode = types.ExternalFunction(
    "lightning_sparse_ffcv_imdecode",
    _I32(types.intp, _U64, _U32, _U32, types.intp, *([_U32] * 6), _BOOL, _BOOL),
)

_FEWEST_TAPS = 3  # what an axis needs that is shrunk to no less than a half

MAX_THREADS = int(config.NUMBA_NUM_THREADS)

# Not every threading layer of numba lets two threads run parallel loops at the same time, and
# training and evaluation may read side by side.
_one_at_a_time = threading.Lock()


def fill_views(  # noqa: PLR0913 (what one pass over a batch reads and writes)
    *,
    file: UInt8[np.ndarray, " num_bytes"],
    starts: Int64[np.ndarray, " b"],
    sizes: Int64[np.ndarray, " b"],
    is_jpeg: Bool[np.ndarray, " b"],
    shapes: Int64[np.ndarray, "b 2"],
    boxes: Int64[np.ndarray, "b 4"],
    is_mirrored: Bool[np.ndarray, " b"],
    table: Shaped[np.ndarray, "256 3"],
    largest_image: int,
    destination: Shaped[np.ndarray, "b size size 3"],
) -> Int32[np.ndarray, " b"]:
    """Write what is seen of each image into ``destination``, on numba's current threads.

    Args:
        file: The whole file, mapped.
        starts: Where each image's bytes begin.
        sizes: How many bytes each image has.
        is_jpeg: Whether they are a JPEG or raw pixels.
        shapes: Height and width of each stored image, in pixels.
        boxes: First row, first column, height and width of what is seen.
        is_mirrored: Whether left and right are exchanged.
        table: Value of each level in each channel, [256, 3], of the destination's dtype.
        largest_image: Bytes of the largest stored image when decoded.
        destination: [b, size, size, 3].

    Returns:
        Zero for each image that could be decoded.
    """
    status = np.zeros(len(starts), dtype=np.int32)
    # Each thread has room for one stored image, and for one row before it is resized.
    pixels = np.empty((MAX_THREADS, largest_image), dtype=np.uint8)
    size, most_taps = destination.shape[1], num_taps(int(boxes[:, 2:].max()), destination.shape[1])
    row = np.zeros((MAX_THREADS, 3 * (int(boxes[:, 3].max()) + most_taps)), dtype=np.float32)
    firsts = np.empty((MAX_THREADS, 2, size), dtype=np.int64)
    weights = np.empty((MAX_THREADS, 2, size, most_taps), dtype=np.float32)
    with _one_at_a_time:
        _fill(
            file, starts, sizes, is_jpeg, shapes, boxes, is_mirrored, table, pixels, row, firsts,
            weights, destination, status,
        )  # fmt: skip
    return status


def _can_keep() -> bool:
    """Tell whether numba finds a folder for what it compiles; it asks as a function is declared."""
    try:
        njit(cache=True)(_can_keep)
    except RuntimeError:
        warnings.warn(
            "numba finds no folder to keep what it compiles, so every process takes some ten "
            "seconds to do so; set NUMBA_CACHE_DIR to a folder that you may write to",
            stacklevel=2,
        )
        return False
    return True


_KEEPS = _can_keep()


# numba compiles plain loops, and reads no annotations.
# ruff: disable[ANN001, ANN201, ANN202, PLR0913, PLR0917, FBT003]
@njit(nogil=True, cache=_KEEPS)
@no_type_check
def num_taps(length, size):
    """Count the pixels of ``length`` that one of ``size`` may depend on."""
    return max(_FEWEST_TAPS, math.ceil(length / size) + 1)


@njit(nogil=True, cache=_KEEPS)
@no_type_check
def set_taps(length, size, firsts, weights):
    """Say on which pixels of an axis each of the resized one depends.

    Args:
        length: Pixels of the axis.
        size: Pixels of the resized one.
        firsts: Gets the first pixel of each; shape (size,).
        weights: Gets the weights of the pixels from there on; shape (size, taps). Those of pixels
            beyond the end are zero.
    """
    scale = length / size
    for i in range(size):
        if scale >= 1:
            start, stop = i * scale, min((i + 1) * scale, float(length))
            firsts[i] = int(start)
            for k in range(weights.shape[1]):
                low, high = max(start, float(firsts[i] + k)), min(stop, firsts[i] + k + 1.0)
                weights[i, k] = max(high - low, 0.0) / (stop - start)
        else:
            centre = min(max((i + 0.5) * scale - 0.5, 0.0), length - 1.0)
            firsts[i] = int(centre)
            weights[i, 0], weights[i, 1] = firsts[i] + 1 - centre, centre - firsts[i]
            weights[i, 2:] = 0


@njit(nogil=True, cache=_KEEPS)
@no_type_check
def _add_rows(image, start, step, weights, row):
    """Add up rows of levels, of which the first begins at ``start``, into one row."""
    length = len(row)
    levels = image[start : start + length]
    weight = weights[0]
    for j in range(length):
        row[j] = weight * np.float32(levels[j])
    for k in range(1, len(weights)):
        weight = weights[k]
        if weight != 0:
            levels = image[start + k * step : start + k * step + length]
            for j in range(length):
                row[j] += weight * np.float32(levels[j])


@njit(nogil=True, cache=_KEEPS)
@no_type_check
def _write_row(row, firsts, weights, is_mirrored, table, destination):
    """Resize one row of three channels, round it to levels, and write what stands for those."""
    size, half = len(destination), np.float32(0.5)
    for column in range(size):
        place = 3 * firsts[column]
        # Most views need no more than these three: a loop over them takes half as long again.
        a, b, c = weights[column, 0], weights[column, 1], weights[column, 2]
        red = a * row[place] + b * row[place + 3] + c * row[place + 6]
        green = a * row[place + 1] + b * row[place + 4] + c * row[place + 7]
        blue = a * row[place + 2] + b * row[place + 5] + c * row[place + 8]
        for k in range(_FEWEST_TAPS, weights.shape[1]):
            weight = weights[column, k]
            red += weight * row[place + 3 * k]
            green += weight * row[place + 3 * k + 1]
            blue += weight * row[place + 3 * k + 2]
        target = size - 1 - column if is_mirrored else column
        destination[target, 0] = table[np.uint8(red + half), 0]
        destination[target, 1] = table[np.uint8(green + half), 1]
        destination[target, 2] = table[np.uint8(blue + half), 2]


@njit(nogil=True, cache=_KEEPS)
@no_type_check
def _write_view(image, width, box, is_mirrored, table, row, firsts, weights, destination):
    """Cut a box out of an image, [height * width * 3], resize and mirror it."""
    top, left, box_height, box_width = box
    size, step = len(destination), 3 * width
    down = weights[0, :, : num_taps(box_height, size)]
    across = weights[1, :, : num_taps(box_width, size)]
    set_taps(box_height, size, firsts[0], down)
    set_taps(box_width, size, firsts[1], across)
    # Read by weights of zero.
    row[3 * box_width :] = 0
    for k in range(size):
        start = (top + firsts[0, k]) * step + 3 * left
        _add_rows(image, start, step, down[k], row[: 3 * box_width])
        _write_row(row, firsts[1], across, is_mirrored, table, destination[k])


@njit(parallel=True, nogil=True, cache=_KEEPS)
@no_type_check
def _fill(
    file, starts, sizes, is_jpeg, shapes, boxes, is_mirrored, table, pixels, row, firsts, weights,
    destination, status,
):  # fmt: skip
    for k in prange(len(starts)):
        own = get_thread_id()
        height, width = shapes[k]
        if is_jpeg[k]:
            status[k] = _imdecode(
                file.ctypes.data + starts[k], sizes[k], height, width, pixels[own].ctypes.data,
                height, width, 0, 0, 1, 1, False, False,
            )  # fmt: skip
            _write_view(
                pixels[own], width, boxes[k], is_mirrored[k], table, row[own], firsts[own],
                weights[own], destination[k],
            )  # fmt: skip
        else:
            _write_view(
                file[starts[k] :], width, boxes[k], is_mirrored[k], table, row[own], firsts[own],
                weights[own], destination[k],
            )  # fmt: skip


# ruff: enable[ANN001, ANN201, ANN202, PLR0913, PLR0917, FBT003]
