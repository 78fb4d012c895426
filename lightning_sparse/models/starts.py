"""Are the start weights of a network what the protocol takes them for: a function of the stream?"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.streams import StartStream

_OTHER: dict[str, StartStream] = {"init": "init/scratch", "init/scratch": "init"}
_REMEDY = (
    "let its constructor draw from the global generators of torch, NumPy or Python without seeding "
    "them, and from no generator of its own"
)


def check_starts(
    network: nn.Module, stream: StartStream, build: Callable[[StartStream], nn.Module]
) -> list[str]:
    """Build the network twice more: from its own stream it must be the same, else another one.

    Weights that hold one number say nothing, and are left out.

    Args:
        network: As it was built from ``stream``.
        stream: ``init`` or ``init/scratch``.
        build: Builds the network from a stream.

    Returns:
        What is to be said of it, a sentence each.

    Raises:
        UserError: If the same stream gives other weights, or if ``stream`` is that of the scratch
            arm and gives the weights of all other arms.
    """
    name = f"model {type(network).__name__}"
    weights = _random_weights(network)
    repeated = _equal_in(weights, build(stream))
    if different := [key for key in weights if key not in repeated]:
        raise UserError(
            f"{name}: built twice from seed and stream, its start weights differ ("
            f"{_listed(different)}), so no run of it could be repeated or compared; {_REMEDY}"
        )
    equal = _equal_in(weights, build(_OTHER[stream]))
    if not equal:
        return []
    if len(equal) < len(weights):
        return [
            f"{name}: has the same start weights in every arm and for every seed: {_listed(equal)}"
        ]
    if stream == "init/scratch":
        raise UserError(
            f"{name}: its start weights are the same from method.start=init/scratch as from init: "
            "a network trained from scratch would start where the pruned one did, and all seeds "
            f"would be one; {_REMEDY}"
        )
    return [
        f"{name}: its start weights are the same for every seed, so seeds are no repetitions, and "
        f"a scratch run will be refused; {_REMEDY}"
    ]


def _random_weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: weight.detach()
        for name, weight in prunable_weights(network).items()
        if weight.numel() > 1 and bool(weight.min() != weight.max())
    }


def _equal_in(weights: dict[str, Tensor], other: nn.Module) -> list[str]:
    others = dict(other.named_parameters())
    return [name for name, weight in weights.items() if torch.equal(weight, others[name])]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


_SHOWN = 5
