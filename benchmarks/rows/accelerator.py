"""The training step of ResNet-50 on one accelerator, in bf16 and channels last.

Beside it, on the same card in the same run, what a matrix product of as many operations takes, and
what copying the weights takes: the ceilings. The bars are goals for one H100.
"""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.pairing import Absolute, Claim, Ratio, Side, Trial
from benchmarks.workloads import (
    Scale,
    masked_step,
    path_step,
    plain_step,
    random_batch,
    resnet50,
    timed,
)
from lightning_sparse.models.flops import layer_flops

_IMAGES_PER_SECOND = {224: 3500, 160: 6500}


def trials(scale: Scale) -> Iterator[Trial]:
    """At 224 and at 160 pixels."""
    for full, goal in _IMAGES_PER_SECOND.items():
        yield _trial(scale, scale.choose(256, 2), scale.choose(full, 16), goal)


def _trial(scale: Scale, batch_size: int, pixels: int, goal: int) -> Trial:
    batch = random_batch(batch_size, pixels, scale)
    network = resnet50(scale)
    # Backward costs twice as much as forward.
    operations = 3 * batch_size * sum(layer_flops(network, (3, pixels, pixels)).values())

    def compiled(built: nn.Module) -> nn.Module:
        if not scale.is_tiny:
            built.compile()
        return built

    works: dict[str, tuple[str, Callable[[], object]]] = {
        "dense": ("no masks", plain_step(network, batch)),
        "masked": ("this project", masked_step(scale, batch)),
        "compiled": ("network.compile(), no masks", plain_step(compiled(resnet50(scale)), batch)),
        "compiled, masked": ("network.compile()", masked_step(scale, batch, compiled)),
        "path": (
            "quadratic, dense space",
            path_step(resnet50(scale), batch, degree=2, is_sparse=False),
        ),
        "matrix product": ("bf16, as many operations as a step", _products(operations, scale)),
        "memory": ("reading and writing the weights once", _copies(scale)),
    }
    rate = f"seconds per {batch_size} images, for {goal} images/s"
    return Trial(
        name=f"step of ResNet-50, bf16, {batch_size} x {pixels} px",
        sides={
            name: Side(what=what, measure=timed(work, repeats=scale.choose(10, 1), scale=scale))
            for name, (what, work) in works.items()
        },
        claims=[
            Claim(statement=rate, quantity=Absolute("compiled, masked"), bar=batch_size / goal),
            Claim(statement="masked / dense", quantity=Ratio("masked", "dense"), bar=1.01),
            Claim(
                statement="masked / dense, compiled",
                quantity=Ratio("compiled, masked", "compiled"),
                bar=1.01,
            ),
            Claim(statement="path / dense", quantity=Ratio("path", "dense"), bar=1.05),
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
