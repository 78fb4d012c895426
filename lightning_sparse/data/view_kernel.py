"""The inner loop of reading a ``.beton`` file: decode, cut, resize, mirror, translate.

Compiled by numba once per machine and kept on disk: FFCV compiles its own operations anew in every
process, which takes some ten seconds. FFCV's C functions are therefore called by name instead of by
address, which would differ in the next process.
"""

import ctypes
import threading
from typing import no_type_check

import numpy as np
from ffcv.libffcv import lib
from jaxtyping import Bool, Int32, Int64, Shaped, UInt8
from llvmlite import binding
from numba import config, get_thread_id, njit, prange, types

_I32, _I64, _U32, _U64, _BOOL = (
    types.int32, types.int64, types.uint32, types.uint64, types.boolean,
)  # fmt: skip

for _name in ("imdecode", "resize"):
    _address = ctypes.cast(getattr(lib, _name), ctypes.c_void_p).value
    binding.add_symbol(f"lightning_sparse_ffcv_{_name}", _address)

_imdecode = types.ExternalFunction(
    "lightning_sparse_ffcv_imdecode",
    _I32(types.intp, _U64, _U32, _U32, types.intp, *([_U32] * 6), _BOOL, _BOOL),
)
_resize = types.ExternalFunction("lightning_sparse_ffcv_resize", types.void(*([_I64] * 11)))

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
    # Each thread has room for one stored image and one resized view.
    scratch = np.empty((MAX_THREADS, largest_image + destination[0].size), dtype=np.uint8)
    with _one_at_a_time:
        _fill(
            file, starts, sizes, is_jpeg, shapes, boxes, is_mirrored, table, scratch, destination,
            status,
        )  # fmt: skip
    return status


# numba compiles one plain loop, and reads no annotations.
# ruff: disable[ANN001, ANN202, C901, PLR0913, PLR0917, FBT003]
@njit(parallel=True, nogil=True, cache=True)
@no_type_check
def _fill(
    file, starts, sizes, is_jpeg, shapes, boxes, is_mirrored, table, scratch, destination, status
):  # fmt: skip
    num_rows, num_columns = destination.shape[1], destination.shape[2]
    num_view_bytes = num_rows * num_columns * 3
    for k in prange(len(starts)):
        own = scratch[get_thread_id()]
        height, width = shapes[k]
        stored = file.ctypes.data + starts[k]
        if is_jpeg[k]:
            pixels = own[num_view_bytes:].ctypes.data
            status[k] = _imdecode(
                stored, sizes[k], height, width, pixels, height, width, 0, 0, 1, 1, False, False
            )
        else:
            pixels = stored
        view = own[:num_view_bytes].reshape(num_rows, num_columns, 3)
        top, left, box_height, box_width = boxes[k]
        _resize(
            0, pixels, height, width, top, top + box_height, left, left + box_width,
            view.ctypes.data, num_rows, num_columns,
        )  # fmt: skip
        for row in range(num_rows):
            if is_mirrored[k]:
                for column in range(num_columns):
                    for channel in range(3):
                        level = view[row, num_columns - 1 - column, channel]
                        destination[k, row, column, channel] = table[level, channel]
            else:
                for column in range(num_columns):
                    for channel in range(3):
                        level = view[row, column, channel]
                        destination[k, row, column, channel] = table[level, channel]


# ruff: enable[ANN001, ANN202, C901, PLR0913, PLR0917, FBT003]
