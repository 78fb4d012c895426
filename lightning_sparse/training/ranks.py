"""The processes that share one run: what they must wait for, and what they must have alike."""

import atexit
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed, nn

from lightning_sparse.errors import theirs
from lightning_sparse.training.trainer import quiet, said


def join_ranks(trainer_options: Mapping[str, Any]) -> torch.device:
    """Find, or start, the processes that a Trainer with these options would run in.

    What is measured without a fit before it, such as a straight line, is shared by them too.

    Args:
        trainer_options: `pytorch_lightning.Trainer` arguments.

    Returns:
        This process's device.
    """
    names = ("accelerator", "devices", "num_nodes", "strategy")
    chosen = {name: trainer_options[name] for name in names if name in trainer_options}
    with quiet(), theirs(said(chosen)):
        fabric = Fabric(**chosen)
    with quiet():
        fabric.launch()
    return fabric.device


def is_shared() -> bool:
    """Whether several processes work on this run."""
    return distributed.is_available() and distributed.is_initialized()


def is_first_rank() -> bool:
    """Whether this process writes what all of them have made."""
    return not is_shared() or distributed.get_rank() == 0


def wait_for_all(device: torch.device) -> None:
    """Let no rank go on before all have come here, so that the files of the first are there."""
    mean_over_ranks(0.0, device)


def mean_over_ranks(value: float, device: torch.device) -> float:
    """Average a number over the ranks; it is the number itself if there is one rank."""
    if not is_shared():
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total) / distributed.get_world_size()


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add tensors up over the ranks; it is the tensor itself if there is one rank."""
    if not is_shared():
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total


def gathered(mine: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what every rank has, in the order of ranks; all ranks must ask together."""
    if not is_shared():
        return [mine]
    everyone: list[dict[str, Any]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(everyone, mine)
    return everyone


def of_this_rank(everyone: list[dict[str, Any]]) -> dict[str, Any]:
    """Pick this rank's part of what was `gathered`."""
    return everyone[distributed.get_rank() if is_shared() else 0]


def share_buffers_(network: nn.Module) -> None:
    """Give every rank the first rank's buffers, which are what is saved.

    DDP does so before each forward pass. After the last one the ranks' batch-norm statistics differ
    by what each has seen in it, and what they measure together would be of several networks.
    """
    if is_shared():
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


@atexit.register
def _leave_group() -> None:
    """End the threads of the process group: at exit, they now and then abort a process."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
