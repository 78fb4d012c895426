"""`train` from a ``.beton`` file through the Trainer, against a plain loop on synthetic tensors.

Both sides train ResNet-50 at 224 pixels in bf16, channels last, with any algorithm. The loop's one
batch lies on the device: what `train` takes beyond it is the price of loader, masks, Lightning and
all callbacks. The timed steps lie within one epoch, as nearly all of an ImageNet run do.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.accelerated import allocated_mb, compiled, forget_compiled, peak_mb
from benchmarks.painted import Painted, paint
from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.training import TimedSteps
from benchmarks.workloads import Scale, masks_of, random_batch, resnet50, use_cores
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.sparsity.methods.given_mask import GivenMask

# The loop's images per second, times this, are what `train` must reach.
_SHARE_OF_LOOP = 0.97


def trials(scale: Scale) -> Iterator[Trial]:
    """Eager and compiled."""
    use_cores(scale.choose(None, 1))
    batch_size, pixels = scale.choose((256, 224), (4, 32))
    last = scale.choose(40, 4)
    steps = TimedSteps(num_steps=last + 1, first=scale.choose(5, 1), last=last, scale=scale)
    with tempfile.TemporaryDirectory() as name:
        painted = paint(
            Path(name), scale, num_train=batch_size * (steps.num_steps + 2), size=pixels
        )
        data = ImageDataModule(
            painted.source,
            batch_size=batch_size,
            seed=1,
            evaluation_batch_size=batch_size,
            train_subset_size=batch_size,
            num_workers=painted.num_threads,
        )
        for is_compiled in (False, True):
            forget_compiled(scale)
            yield _trial(scale, steps, painted, data, is_compiled=is_compiled)


def _trial(
    scale: Scale, steps: TimedSteps, painted: Painted, data: ImageDataModule, *, is_compiled: bool
) -> Trial:
    size = painted.source.image_shape[-1]
    batch = random_batch(data.batch_size, size, scale)

    def network() -> nn.Module:
        built = resnet50(scale)
        return compiled(built, scale) if is_compiled else built

    def train() -> Callable[[], float]:
        trained = network()
        method = GivenMask(masks=masks_of(trained))
        is_on_gpu = scale.device.type == "cuda"
        options = {
            "deterministic": False, "precision": "bf16-mixed" if is_on_gpu else "32-true"
        }  # fmt: skip
        return lambda: steps.by_trainer(trained, data, method, options)

    def loop() -> Callable[[], float]:
        trained = network()
        return lambda: steps.by_loop(trained, itertools.repeat(batch))

    return Trial(
        name=f"train ResNet-50, bf16, {data.batch_size} x {size} px, "
        f"{'compiled' if is_compiled else 'eager'}",
        sides={
            "train": _side(f"this project, masked, {painted.what}", train, scale),
            "loop": _side(
                f"plain loop on one batch in memory, torch {torch.__version__}", loop, scale
            ),
        },
        claims=[
            Claim(
                statement=f"train / loop, for {_SHARE_OF_LOOP} of its images/s",
                quantity=Ratio("train", "loop"),
                bar=1 / _SHARE_OF_LOOP,
            )
        ],
        seconds=60,
    )


def _side(what: str, build: Callable[[], Callable[[], float]], scale: Scale) -> Side:
    held = allocated_mb(scale)
    measure = build()
    # The first of each is not measured: it compiles, and numba does too.
    measure()
    return Side(what=what, measure=measure, peak_mb=peak_mb(measure, held, scale))
