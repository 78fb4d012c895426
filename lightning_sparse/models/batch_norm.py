"""Batch-norm statistics of any network: fresh ones, and their recomputation over fixed images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch-norm modules that keep running statistics, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    }


def fresh_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Return new buffers for every batch-norm module: mean 0, variance 1, no batch counted."""
    statistics: dict[str, Tensor] = {}
    for name, module in batch_norms(network).items():
        prefix = f"{name}." if name else ""
        for key, buffer in module.named_buffers(recurse=False):
            fill = torch.ones_like if key == "running_var" else torch.zeros_like
            statistics[prefix + key] = fill(buffer)
    return statistics


def use_batch_statistics(network: nn.Module) -> None:
    """Put batch-norm modules, and nothing else, in training mode with a cumulative average.

    ``momentum=None`` makes the running statistics the plain mean over the batches seen, which is
    why the batches should be of equal size. Dropout stays off.
    """
    network.eval()
    for module in batch_norms(network).values():
        module.train()
        module.momentum = None


@torch.no_grad()
def recalibrate_(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running statistics by their cumulative average over ``batches``, at these weights.

    Running statistics are a moving average over the last ten or so training batches, at weights
    that changed meanwhile ("precise batch norm", Wu and Johnson 2021, arXiv 2105.07576). A channel
    that is nearly dead was at rest in all of them: its running variance is close to zero, and the
    first image that wakes it is then scaled up without bound.

    Args:
        network: Left in evaluation mode; nothing but the statistics changes.
        batches: Images in batches of equal size, not augmented.
    """
    momenta = {module: module.momentum for module in batch_norms(network).values()}
    for module in momenta:
        module.reset_running_stats()
    use_batch_statistics(network)
    for images in batches:
        network(images)
    for module, momentum in momenta.items():
        module.momentum = momentum
    network.eval()
