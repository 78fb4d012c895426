"""New masks for every layer of ResNet-50, exact counts, against two ways to find the largest.

On a GPU with any algorithm and with deterministic ones alone, and with a bar in milliseconds.

Peers: `torch.topk` per layer, as `torch.nn.utils.prune.l1_unstructured` calls it (for the smallest
magnitudes, which are set to 0), and a full sort of every layer.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from benchmarks.accelerated import deterministic, side, under
from benchmarks.pairing import Absolute, Claim, Ratio, Trial
from benchmarks.workloads import (
    SPARSITY,
    Scale,
    plain_step,
    random_batch,
    resnet50,
    use_cores,
)
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.masks import Masks, num_kept
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from lightning_sparse.sparsity.view import SparseView

_PEER = f"torch {torch.__version__}"
_GPU_BAR = 0.005


def trials(scale: Scale) -> Iterator[Trial]:
    """The first update from dense weights, which has most to rank, to the final sparsity."""
    use_cores()
    network = resnet50(scale)
    weights: Mapping[str, Tensor] = prunable_weights(network)
    method = GradualMagnitude(
        sparsity=SPARSITY, start_step=0, end_step=1, update_every=1, distribution=Uniform()
    )
    view = SparseView.at_start(weights, step=1)
    size = scale.choose((16, 64), (2, 16))

    def update() -> object:
        return method.updated_masks(view)

    ways: dict[str, tuple[str, Callable[[], object]]] = {
        "update": ("this project", update),
        "topk": (f"torch.topk per layer, {_PEER}", lambda: by_topk(weights)),
        "sort": (f"torch.sort per layer, {_PEER}", lambda: by_sort(weights)),
        "step": (
            f"plain training step, {size[0]} x {size[1]} px, for scale",
            plain_step(network, random_batch(*size, scale)),
        ),
    }
    sides = {
        name: side(what, partial(_made, work), scale, 1) for name, (what, work) in ways.items()
    }
    claims = _claims()
    if scale.device.type == "cuda":
        with deterministic():
            alone = side("this project, deterministic algorithms alone", lambda: update, scale, 1)
        sides["update, deterministic"] = under(deterministic, alone)
        claims += _claims_in_milliseconds()
    yield Trial(
        name=f"mask update of ResNet-50, to {SPARSITY:.0%}",
        sides=sides,
        claims=claims,
        seconds=40,
    )


def _made(work: Callable[[], object]) -> Callable[[], object]:
    return work


def _claims() -> list[Claim]:
    bars = {"topk": (1.0, 0.0), "sort": (1.0, 0.0), "step": (1.0, 0.005)}
    return [
        Claim(
            statement=f"update / {other}",
            quantity=Ratio("update", other),
            bar=bar,
            slack=slack,
        )
        for other, (bar, slack) in bars.items()
    ]


def _claims_in_milliseconds() -> list[Claim]:
    return [
        Claim(
            statement=f"seconds of the {name}, on the device",
            quantity=Absolute(name),
            bar=_GPU_BAR,
        )
        for name in ("update", "update, deterministic")
    ]


def by_topk(weights: Mapping[str, Tensor]) -> Masks:
    """Set the smallest magnitudes of each layer to False."""

    def smallest(magnitudes: Tensor, count: int) -> Tensor:
        return magnitudes.topk(count, largest=False).indices

    return _without(smallest, weights)


def by_sort(weights: Mapping[str, Tensor]) -> Masks:
    """Sort each layer, and set the first of the order to False."""

    def smallest(magnitudes: Tensor, count: int) -> Tensor:
        return magnitudes.sort().indices[:count]

    return _without(smallest, weights)


@torch.no_grad()
def _without(
    smallest: Callable[[Tensor, int], Tensor], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    masks = {}
    for name, weight in weights.items():
        magnitudes = weight.abs().reshape(-1)
        mask = torch.ones_like(magnitudes, dtype=torch.bool)
        count = weight.numel() - num_kept(weight.numel(), SPARSITY)
        mask[smallest(magnitudes, count)] = False
        masks[name] = mask.reshape(weight.shape)
    return masks
