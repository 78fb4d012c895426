"""Run a network with other tensors in the place of its own parameters and buffers."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from lightning_sparse.errors import theirs


class StatelessCall:
    """`torch.func.functional_call` for one network, with its bookkeeping done once.

    That function walks over all modules at every call to find out where each name lives: a tenth of
    a step of the digits network. A parameter that several modules share goes by the name that
    ``named_parameters`` gives it, and is replaced in all of them.

    Args:
        network: Its modules and their parameters must stay the same objects.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._theirs = partial(theirs, f"model {type(network).__name__}, at a point of a path")
        names = {id(tensor): name for name, tensor in network.named_parameters()}
        names |= {id(tensor): name for name, tensor in network.named_buffers()}
        self._places: list[tuple[dict[str, Any], str, str]] = [
            (own, key, names[id(tensor)])
            for module in network.modules()
            for own in (module._parameters, module._buffers)  # noqa: SLF001
            for key, tensor in own.items()
            if tensor is not None
        ]

    def __call__(self, state: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Return the network's output for ``images``.

        Args:
            state: Tensors by name; what is not in it is the network's own. Buffers that the network
                updates change here.
            images: The input.

        Raises:
            UserError: With what the network raised.
        """
        replaced = [(own, key, own[key], name) for own, key, name in self._places if name in state]
        try:
            for own, key, _, name in replaced:
                own[key] = state[name]
            with self._theirs():
                output: Tensor = self._network(images)
        finally:
            for own, key, tensor, _ in replaced:
                own[key] = tensor
        return output
