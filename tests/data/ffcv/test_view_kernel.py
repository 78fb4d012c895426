"""What the compiled loop makes of stored pixels, against plain Python and FFCV's function."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.resizing import resized, shares

pytestmark = pytest.mark.usefixtures("ffcv_installed")

REPOSITORY = Path(__file__).parents[3]
HEIGHT, WIDTH = 61, 47
LEVELS = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
IMAGE = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def views(boxes, size, *, is_mirrored=False, table=LEVELS):
    from lightning_sparse.data.ffcv.view_kernel import fill_views

    num = len(boxes)
    seen = np.empty((num, size, size, 3), dtype=table.dtype)
    status = fill_views(
        file=IMAGE.reshape(-1), starts=np.zeros(num, np.int64),
        sizes=np.full(num, IMAGE.size), is_jpeg=np.zeros(num, dtype=bool),
        shapes=np.array([[HEIGHT, WIDTH]] * num), boxes=np.array(boxes),
        is_mirrored=np.full(num, is_mirrored), table=table, largest_image=IMAGE.size,
        destination=seen,
    )  # fmt: skip
    assert not status.any()
    return seen


def cut(box):
    top, left, height, width = box
    return IMAGE[top : top + height, left : left + width]


boxes = st.tuples(st.integers(1, HEIGHT), st.integers(1, WIDTH)).flatmap(
    lambda size: st.tuples(
        st.integers(0, HEIGHT - size[0]), st.integers(0, WIDTH - size[1]),
        st.just(size[0]), st.just(size[1]),
    )
)  # fmt: skip


@given(boxes, st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_a_view_is_what_plain_python_makes_of_the_box(box, size):
    (seen,) = views([box], size)
    for channel in range(3):
        expected = np.array(resized(cut(box)[..., channel].tolist(), size))
        # Up to where a value in single precision falls on the other side of a half.
        assert np.abs(seen[..., channel] - expected).max() < 0.501


@given(boxes, st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_a_mirrored_view_is_the_mirrored_view_bit_for_bit(box, size):
    (seen,), (mirrored,) = views([box], size), views([box], size, is_mirrored=True)
    assert np.array_equal(mirrored, seen[:, ::-1])


def test_a_box_of_the_size_that_is_asked_for_is_copied():
    box = (7, 3, 40, 40)
    assert np.array_equal(views([box], 40)[0], cut(box))


def test_a_shrunk_box_is_what_ffcv_makes_of_it_but_for_one_level():
    from ffcv.libffcv import resize_crop

    for size in (9, 16, 30):
        for box in [(0, 0, 61, 47), (5, 2, 44, 41), (11, 0, 30, 47), (0, 7, 60, 40)]:
            top, left, height, width = box
            theirs = np.empty((size, size, 3), dtype=np.uint8)
            resize_crop(IMAGE, top, top + height, left, left + width, theirs)
            difference = np.abs(views([box], size)[0].astype(int) - theirs)
            # Halves are rounded up here, and to even levels there.
            assert difference.max() <= 1


def test_each_channel_is_translated_by_its_own_column():
    table = (LEVELS * np.array([1, 10, 100]) / 7).astype(np.float32)
    box = (3, 4, 20, 30)
    levels = views([box], 12)[0]
    expected = np.stack([table[levels[..., c], c] for c in range(3)], axis=-1)
    assert np.array_equal(views([box], 12, table=table)[0], expected)


@given(st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None, max_examples=100)
def test_weights_are_the_shares_of_the_pixels_and_none_lies_beyond_the_end(length, size):
    from lightning_sparse.data.ffcv.view_kernel import num_taps, set_taps

    firsts = np.empty(size, dtype=np.int64)
    weights = np.empty((size, num_taps(length, size)), dtype=np.float32)
    set_taps(length, size, firsts, weights)

    for i in range(size):
        found = {int(firsts[i]) + k: w for k, w in enumerate(weights[i].tolist()) if w > 1e-6}
        expected = {k: share for k, share in shares(length, size, i).items() if share > 1e-6}
        assert found == pytest.approx(expected, abs=1e-5)


AS_FFCV_DOES = """
import os, threading
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from tests.data.ffcv.test_view_kernel import views
thread = threading.Thread(target=views, args=([(0, 0, 9, 9)], 5))
thread.start()
thread.join()
"""


def test_a_process_on_one_core_ends_though_the_thread_that_read_has_ended():
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("NUMBA_THREADING_LAYER", None)
    subprocess.run([sys.executable, "-c", AS_FFCV_DOES], env=environment, timeout=90, check=True)


def test_without_a_folder_for_what_is_compiled_it_is_compiled_anew_and_said(monkeypatch):
    from numba.core.caching import CompileResultCacheImpl

    from lightning_sparse.data.ffcv import view_kernel

    assert view_kernel._can_keep()
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])

    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR to a folder that you may write to"):
        assert not view_kernel._can_keep()
