"""The training step of ResNet-50 with masks, against the dense step and two other ways to mask it.

Peers: `torch.nn.utils.prune` with ``custom_from_mask`` (PyTorch's pruning tutorial), and a
parametrization that multiplies by the mask (PyTorch's parametrizations tutorial).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import (
    Batch,
    Scale,
    masked_step,
    masks_of,
    optimizer_of,
    plain_step,
    random_batch,
    resnet50,
    timed,
    use_cores,
)
from lightning_sparse.sparsity.masks import Masks

_PEER = f"torch {torch.__version__}"


def trials(scale: Scale) -> Iterator[Trial]:
    """Two sizes, and the compiled step."""
    use_cores()
    for batch_size, pixels, bar in ((32, 128, 1.01), (16, 64, 1.03)):
        yield _eager(scale, scale.choose((batch_size, pixels), (2, 16)), bar)
    yield _compiled(scale)


def _eager(scale: Scale, size: tuple[int, int], bar: float) -> Trial:
    batch = random_batch(*size, scale)
    steps = {
        "dense": ("no masks", plain_step(resnet50(scale), batch)),
        "masked": ("this project", masked_step(scale, batch)),
        "prune": (
            f"torch.nn.utils.prune.custom_from_mask, {_PEER}",
            _masked_by(_prune_, scale, batch),
        ),
        "parametrization": (
            f"torch.nn.utils.parametrize, {_PEER}",
            _masked_by(_parametrize_, scale, batch),
        ),
    }
    return Trial(
        name=f"step of ResNet-50, {size[0]} x {size[1]} px",
        sides={
            name: Side(what=what, measure=timed(step, scale=scale))
            for name, (what, step) in steps.items()
        },
        claims=[
            Claim(statement="masked / dense", quantity=Ratio("masked", "dense"), bar=bar),
            *(
                Claim(
                    statement=f"masked / {peer}",
                    quantity=Ratio("masked", peer),
                    bar=1.0,
                    slack=0.0,
                )
                for peer in ("prune", "parametrization")
            ),
        ],
        seconds=70,
    )


def _compiled(scale: Scale) -> Trial:
    size = scale.choose((32, 128), (2, 16))
    batch = random_batch(*size, scale)

    def compiled(network: nn.Module) -> nn.Module:
        # The compiler takes minutes, and tiny runs are there to test what is around it.
        if not scale.is_tiny:
            network.compile()
        return network

    return Trial(
        name=f"compiled step of ResNet-50, {size[0]} x {size[1]} px",
        sides={
            "dense": Side(
                what=f"network.compile(), no masks, {_PEER}",
                measure=timed(plain_step(compiled(resnet50(scale)), batch), scale=scale),
            ),
            "masked": Side(
                what="network.compile(), this project",
                measure=timed(masked_step(scale, batch, compiled), scale=scale),
            ),
        },
        claims=[Claim(statement="masked / dense", quantity=Ratio("masked", "dense"), bar=1.01)],
        seconds=50,
    )


def _masked_by(
    peer_: Callable[[nn.Module, Masks], None], scale: Scale, batch: Batch
) -> Callable[[], object]:
    """Return the step of a network that a peer has masked."""
    network = resnet50(scale)
    # Both peers keep the parameter and only rename it, so the optimizer is that of the dense side.
    optimizer = optimizer_of(network)
    peer_(network, masks_of(network))
    return plain_step(network, batch, optimizer=optimizer)


def _prune_(network: nn.Module, masks: Masks) -> None:
    for name, mask in masks.items():
        prune.custom_from_mask(_module(network, name), "weight", mask)


class _Masked(nn.Module):
    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def _parametrize_(network: nn.Module, masks: Masks) -> None:
    for name, mask in masks.items():
        parametrize.register_parametrization(_module(network, name), "weight", _Masked(mask))


def _module(network: nn.Module, weight_name: str) -> nn.Module:
    return network.get_submodule(weight_name.removesuffix(".weight"))
