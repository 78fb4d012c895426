"""29 points of a line through ResNet-50 on a GPU, against a bare loop of forward passes.

The bare loop makes as many passes over as many images, in single precision as well, over batches
that lie on the device: no weights are formed, no statistics computed anew, nothing is measured.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.accelerated import forget_compiled, side, under
from benchmarks.evaluation import Work
from benchmarks.painted import paint
from benchmarks.pairing import Claim, Ratio, Trial
from benchmarks.workloads import Scale, noise_data, resnet50, use_cores
from lightning_sparse.data.source import ImageSource
from lightning_sparse.training.numerics import true_single_precision

# The bare passes' point-images per second, times this, are what path evaluation must reach.
_SHARE_OF_BARE = 0.90


def trials(scale: Scale) -> Iterator[Trial]:
    """From memory and from a ``.beton`` file."""
    use_cores(scale.choose(None, 1))
    num_images, pixels = scale.choose((128, 224), (8, 32))
    yield _trial("memory", noise_data(num_images, pixels, scale).source, num_images, scale)
    with tempfile.TemporaryDirectory() as name:
        painted = paint(Path(name), scale, num_train=num_images, size=pixels)
        yield _trial(painted.what, painted.source, num_images, scale, painted.num_threads)


def _trial(
    origin: str, source: ImageSource, num_images: int, scale: Scale, num_workers: int = 0
) -> Trial:
    forget_compiled(scale)
    num_points = scale.choose(29, 8)

    def work() -> Work:
        return Work(
            source,
            num_images,
            num_points=num_points,
            constructor=lambda: resnet50(scale).cpu(),
            num_workers=num_workers,
            device=scale.device,
        )

    # As `PathRun` evaluates, and for both sides.
    with true_single_precision():
        points = side("this project", lambda: work().together, scale, 1)
        passes = side("bare forward passes", lambda: work().bare_passes(), scale, 1)
    return Trial(
        name=f"{num_points} points of ResNet-50, {num_images} x {source.image_shape[-1]} px per "
        f"set, from {origin}",
        sides={
            "points": under(true_single_precision, points),
            "passes": under(true_single_precision, passes),
        },
        claims=[
            Claim(
                statement=f"points / passes, for {_SHARE_OF_BARE} of their point-images/s",
                quantity=Ratio("points", "passes"),
                bar=1 / _SHARE_OF_BARE,
            )
        ],
        seconds=40,
    )
