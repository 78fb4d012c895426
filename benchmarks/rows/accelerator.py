"""The training step of ResNet-50 on one accelerator, in bf16 and channels last.

Beside it, on the same card in the same run, what a matrix product of as many operations takes, and
what copying the weights takes: the ceilings. Every image size is compiled anew, with static shapes.
The bars are goals for one H100 or H200.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.accelerated import compiled, forget_compiled, side
from benchmarks.pairing import Absolute, Claim, Ratio, Trial
from benchmarks.workloads import (
    Scale,
    masked_step,
    plain_step,
    random_batch,
    resnet50,
)
from lightning_sparse.models.flops import layer_flops

_IMAGES_PER_SECOND = {224: 7500, 192: None, 160: 13000}
"""Goals by image size; None where none was set."""

_MASKED_BAR = 1.005


def trials(scale: Scale) -> Iterator[Trial]:
    """At the sizes that training grows through, the largest first."""
    for full, goal in _IMAGES_PER_SECOND.items():
        forget_compiled(scale)
        yield _trial(scale, scale.choose(256, 2), scale.choose(full, full // 14), goal)


def _trial(scale: Scale, batch_size: int, pixels: int, goal: int | None) -> Trial:
    batch = random_batch(batch_size, pixels, scale)
    # Backward costs twice as much as forward.
    operations = 3 * batch_size * sum(layer_flops(resnet50(scale), (3, pixels, pixels)).values())
    prepared = partial(compiled, scale=scale)
    works: dict[str, tuple[str, Callable[[], Callable[[], object]]]] = {
        "dense": ("no masks", lambda: plain_step(resnet50(scale), batch)),
        "masked": ("this project", lambda: masked_step(scale, batch)),
        "compiled": (
            "compiled for this size, no masks",
            lambda: plain_step(prepared(resnet50(scale)), batch),
        ),
        "compiled, masked": (
            "compiled for this size, this project",
            lambda: masked_step(scale, batch, prepared),
        ),
        "matrix product": (
            "bf16, as many operations as a step",
            lambda: _products(operations, scale),
        ),
        "memory": ("reading and writing the weights once", lambda: _copies(scale)),
    }
    rate = f"seconds per {batch_size} images, compiled and masked"
    return Trial(
        name=f"step of ResNet-50, bf16, {batch_size} x {pixels} px",
        sides={name: side(what, build, scale, 10) for name, (what, build) in works.items()},
        claims=[
            Claim(
                statement=f"{rate}, for {goal} images/s" if goal else rate,
                quantity=Absolute("compiled, masked"),
                bar=batch_size / goal if goal else None,
            ),
            Claim(statement="masked / dense", quantity=Ratio("masked", "dense"), bar=_MASKED_BAR),
            Claim(
                statement="masked / dense, compiled",
                quantity=Ratio("compiled, masked", "compiled"),
                bar=_MASKED_BAR,
            ),
            Claim(
                statement="share of the matrix ceiling",
                quantity=Ratio("matrix product", "compiled, masked"),
            ),
            Claim(
                statement="one pass over the weights / step",
                quantity=Ratio("memory", "compiled, masked"),
            ),
        ],
        seconds=60,
    )


def _products(operations: int, scale: Scale) -> Callable[[], object]:
    """Multiply square matrices, about ``operations`` multiplications and additions in all."""
    size = scale.choose(8192, 32)
    left = torch.randn(size, size, device=scale.device, dtype=torch.bfloat16)
    right = left.clone()
    whole, rest = divmod(operations, 2 * size**3)
    columns = max(1, rest // (2 * size**2))

    def products() -> None:
        # Tiny: one, whatever the number.
        for _ in range(scale.choose(whole, 1)):
            torch.mm(left, right)
        torch.mm(left, right[:, :columns])

    return products


def _copies(scale: Scale) -> Callable[[], object]:
    weights = torch.cat([weight.detach().flatten() for weight in resnet50(scale).parameters()])
    copy = torch.empty_like(weights)
    return lambda: copy.copy_(weights)
