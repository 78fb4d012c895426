"""The procedural image set as a folder of JPEGs in the layout of ImageNet."""

import functools
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from lightning_sparse.data.synthetic import FIRST_TEST_INDEX, synthetic_images
from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.process.preemption import end_with_parent

_NOTE = "synthetic.json"
_JPEG_QUALITY = 90
_NUM_AT_ONCE = 16


def write_synthetic_folder(
    root: Path, *, num_classes: int, num_train: int, num_val: int, size: int, num_workers: int
) -> None:
    """Paint ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG``; see `synthetic_images`.

    What was painted is noted in ``synthetic.json``; the same images are not painted twice. The
    folder is painted aside and renamed, so it is there whole or not at all.

    Args:
        root: The folder.
        num_classes: Number of classes, called ``n00000000`` and so on.
        num_train: Training images.
        num_val: Validation images.
        size: Height and width in pixels.
        num_workers: Processes that paint.

    Raises:
        UserError: If the folder holds anything else, or a class would have no image.
    """
    if min(num_train, num_val) < num_classes:
        raise UserError(
            f"num_train={num_train}, num_val={num_val}: must both be at least "
            f"num_classes={num_classes}, one image for each class"
        )
    painted = {"num_classes": num_classes, "num_train": num_train, "num_val": num_val, "size": size}
    if root.exists():
        if _noted(root) == painted:
            return
        raise UserError(
            f"{root}: holds something else; remove it, or name another place with images=<folder>"
        )
    aside = root.with_name(f".{root.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for part, first, count in (("train", 0, num_train), ("val", FIRST_TEST_INDEX, num_val)):
            _paint(aside / part, first, count, num_classes, size, num_workers)
        write_text_atomic(aside / _NOTE, json.dumps(painted) + "\n")
        aside.replace(root)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _paint(
    folder: Path, first: int, count: int, num_classes: int, size: int, num_workers: int
) -> None:
    for label in range(num_classes):
        (folder / _class_name(label)).mkdir(parents=True)
    paint = functools.partial(_paint_some, folder, first, count, num_classes, size)
    if num_workers == 1:
        for start in range(0, count, _NUM_AT_ONCE):
            paint(start)
        return
    # Forked: they only paint, and starting anew each would import torch.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(num_workers, context, initializer=end_with_parent) as pool:
        for _ in pool.map(paint, range(0, count, _NUM_AT_ONCE)):
            pass


def _paint_some(
    folder: Path, first: int, count: int, num_classes: int, size: int, start: int
) -> None:
    numbers = np.arange(start, min(start + _NUM_AT_ONCE, count))
    indices = first + numbers
    # Levels: mean 128, four standard deviations inside.
    levels = (128 + 64 * synthetic_images(indices, num_classes, size)).clip(0, 255).astype(np.uint8)
    for number, index, image in zip(numbers, indices, levels, strict=True):
        name = _class_name(int(index % num_classes))
        file = folder / name / f"{name}_{number:08d}.JPEG"
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=_JPEG_QUALITY)


def _class_name(label: int) -> str:
    return f"n{label:08d}"


def _noted(root: Path) -> object:
    note = root / _NOTE
    return json.loads(note.read_text(encoding="utf-8")) if note.is_file() else None
