"""The step of a quadratic curve through ResNet-50 on a GPU, in bf16, against the plain step.

In the mask and in the dense space, eager and compiled, at the largest and the smallest size that
training grows through; each size is compiled anew, with static shapes.
"""

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.accelerated import compiled, forget_compiled, side
from benchmarks.pairing import Claim, Ratio, Trial
from benchmarks.workloads import Batch, Scale, path_step, plain_step, random_batch, resnet50

_SPACES = {"dense space": False, "in the mask": True}
_EAGER_BAR, _COMPILED_BAR = 1.02, 1.03


def trials(scale: Scale) -> Iterator[Trial]:
    """At 224 and at 160 pixels, eager and compiled."""
    for full in (224, 160):
        batch = random_batch(scale.choose(256, 2), scale.choose(full, full // 14), scale)
        for is_compiled in (False, True):
            forget_compiled(scale)
            yield _trial(scale, batch, is_compiled=is_compiled)


def _trial(scale: Scale, batch: Batch, *, is_compiled: bool) -> Trial:
    def plain() -> Callable[[], object]:
        network = resnet50(scale)
        return plain_step(compiled(network, scale) if is_compiled else network, batch)

    def curve(*, is_sparse: bool) -> Callable[[], object]:
        return path_step(
            resnet50(scale),
            batch,
            degree=2,
            is_sparse=is_sparse,
            compiled=is_compiled and not scale.is_tiny,
        )

    how = "compiled" if is_compiled else "eager"
    images, _ = batch
    return Trial(
        name=f"curve through ResNet-50, bf16, {len(images)} x {images.shape[-1]} px, {how}",
        sides={
            "plain": side("plain training step of the same network", plain, scale, 10),
            **{
                name: side("this project", partial(curve, is_sparse=is_sparse), scale, 10)
                for name, is_sparse in _SPACES.items()
            },
        },
        claims=[
            Claim(
                statement=f"{name} / plain",
                quantity=Ratio(name, "plain"),
                bar=_COMPILED_BAR if is_compiled else _EAGER_BAR,
            )
            for name in _SPACES
        ],
        seconds=30,
    )
