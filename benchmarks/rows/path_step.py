"""The training step of `PathModule`, against the plain step of the same network and layer twins.

Peer: curves as in Garipov et al. 2018, see `benchmarks.layer_twins`; quadratic, dense space.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from benchmarks.layer_twins import CurveNetwork
from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import (
    Batch,
    Scale,
    digits_batch,
    digits_network,
    path_step,
    plain_step,
    random_batch,
    resnet50,
    settings,
    timed,
    use_cores,
)

_VARIANTS = {
    "quadratic": (2, False),
    "quadratic, sparse": (2, True),
    "cubic": (3, False),
    "cubic, sparse": (3, True),
}


def trials(scale: Scale) -> Iterator[Trial]:
    """The digits network on one core, and ResNet-50 on all."""
    use_cores(1)
    batch = digits_batch(scale)
    repeats = scale.choose(30, 1)
    yield _trial(
        f"path step of the digits network, {len(batch[0])} images",
        digits_network(scale), batch, scale, bar=1.10, repeats=repeats, seconds=30,
    )  # fmt: skip
    use_cores()
    size = scale.choose((32, 128), (2, 16))
    yield _trial(
        f"path step of ResNet-50, {size[0]} x {size[1]} px",
        resnet50(scale), random_batch(*size, scale), scale, bar=1.05, repeats=1, seconds=150,
    )  # fmt: skip


def twins_step(network: nn.Module, batch: Batch) -> Callable[[], object]:
    """Return the step of a quadratic curve made of layer twins."""
    start = network.state_dict()
    points: list[dict[str, Tensor]] = [
        {name: value + 0.005 * k for name, value in start.items()} for k in range(3)
    ]
    curve = CurveNetwork(network, points).train()
    chosen = settings()
    optimizer = SGD(
        [parameter for parameter in curve.parameters() if parameter.requires_grad],
        lr=chosen.learning_rate,
        momentum=chosen.momentum,
        nesterov=True,
        fused=True,
    )
    generator = torch.Generator().manual_seed(1)
    images, labels = batch

    def step() -> None:
        t = float(torch.rand((), generator=generator))
        with torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda):
            logits, squared_norm = curve(images, t)
            loss = functional.cross_entropy(logits, labels, label_smoothing=0.1)
        loss = loss + 0.5 * chosen.weight_decay * squared_norm
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _trial(  # noqa: PLR0913 (keyword-only where it is not plain what it is)
    name: str,
    network: nn.Module,
    batch: Batch,
    scale: Scale,
    *,
    bar: float,
    repeats: int,
    seconds: float,
) -> Trial:
    steps = {
        "plain": ("plain training step of the same network", plain_step(network, batch)),
        **{
            variant: (
                "this project",
                path_step(network, batch, degree=degree, is_sparse=is_sparse),
            )
            for variant, (degree, is_sparse) in _VARIANTS.items()
        },
        "layer twins": (
            "quadratic, every layer rewritten, as in timgaripov/dnn-mode-connectivity",
            twins_step(network, batch),
        ),
    }
    return Trial(
        name=name,
        sides={
            side: Side(what=what, measure=timed(step, repeats=repeats, scale=scale))
            for side, (what, step) in steps.items()
        },
        claims=[
            *(
                Claim(statement=f"{variant} / plain", quantity=Ratio(variant, "plain"), bar=bar)
                for variant in _VARIANTS
            ),
            Claim(
                statement="quadratic / layer twins",
                quantity=Ratio("quadratic", "layer twins"),
                bar=1.0,
                slack=0.0,
            ),
        ],
        seconds=seconds,
    )
