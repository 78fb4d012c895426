"""29 points of a path, against the usual loop: one point at a time.

The peer loads a point's weights, recomputes the batch-norm statistics by
`torch.optim.swa_utils.update_bn` and runs over both evaluation sets, point after point, as
dnn-mode-connectivity and git-re-basin evaluate. Both sides see the same images in the same
batches. From JPEG files decoding costs most, as it does beside an accelerator; from memory
computing does.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.evaluation import Work, write_jpegs
from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import Scale, timed, use_cores
from lightning_sparse.data.digits import build_digits
from lightning_sparse.data.image_folder import build_image_folder
from lightning_sparse.data.source import ImageSource


def trials(scale: Scale) -> Iterator[Trial]:
    """From JPEG files and from memory."""
    use_cores()
    num_images = scale.choose(32, 4)
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), num_images, pixels=scale.choose(256, 64))
        source = build_image_folder(folder, size=32, resize=36)
        yield _trial("from JPEG", source, num_images, scale, bar=1 / 5, seconds=60)
    use_cores(1)
    yield _trial("from memory", build_digits(), scale.choose(256, 8), scale, bar=1.0, seconds=30)


def _trial(
    name: str, source: ImageSource, num_images: int, scale: Scale, *, bar: float, seconds: float
) -> Trial:
    work = Work(source, num_images, num_points=scale.choose(29, 8))
    num_points = len(work.ts)
    return Trial(
        name=f"{num_points} points, {name}",
        sides={
            "together": Side(what="this project", measure=timed(work.together, scale=scale)),
            "one by one": Side(
                what=f"swa_utils.update_bn and a pass per set, torch {torch.__version__}",
                measure=timed(work.one_by_one, scale=scale),
            ),
        },
        claims=[
            Claim(
                statement="together / one by one",
                quantity=Ratio("together", "one by one"),
                bar=bar,
            )
        ],
        seconds=seconds,
    )
