"""Batch-norm statistics of any network: fresh ones, and their recomputation over fixed images.

Instance norm that tracks statistics keeps the same ones, and is meant wherever batch norm is.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from lightning_sparse.errors import theirs

_COUNT = "num_batches_tracked"
_FRESH = {
    "running_mean": torch.zeros_like,
    "running_var": torch.ones_like,
    _COUNT: torch.zeros_like,
}


def batch_norms(network: nn.Module) -> dict[str, _NormBase]:
    """Return the batch-norm and instance-norm modules that keep running statistics, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _NormBase) and module.track_running_stats
    }


def fresh_statistics(network: nn.Module, count_on: torch.device | None = None) -> dict[str, Tensor]:
    """Return new statistics for every such module: mean 0, variance 1, no batch counted.

    Further buffers that a subclass may have are none of them.

    Args:
        network: Where its statistics are, these will be.
        count_on: Where the numbers of batches are kept instead. A cumulative average reads one in
            every module at every batch, and on an accelerator each of them would be waited for.
    """
    statistics: dict[str, Tensor] = {}
    for name, module in batch_norms(network).items():
        prefix = f"{name}." if name else ""
        for key, buffer in module.named_buffers(recurse=False):
            if key in _FRESH:
                device = count_on if key == _COUNT else None
                statistics[prefix + key] = _FRESH[key](buffer, device=device)
    return statistics


def use_batch_statistics(network: nn.Module) -> None:
    """Put these modules, and nothing else, in training mode with a cumulative average.

    ``momentum=None`` makes the running statistics the plain mean over the batches seen, which is
    why the batches should be of equal size. Dropout stays off.
    """
    network.eval()
    for module in batch_norms(network).values():
        module.train()
        module.momentum = None
        # Torch counts batches, and averages over all of them, in batch norm alone.
        if isinstance(module, _InstanceNorm) and not _counts(module):
            module.register_forward_pre_hook(_count_batch)


def _count_batch(module: nn.Module, _: Any) -> None:
    assert isinstance(module, _InstanceNorm)
    if module.training and module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        module.momentum = 1 / int(module.num_batches_tracked)


def _counts(module: nn.Module) -> bool:
    return _count_batch in module._forward_pre_hooks.values()  # noqa: SLF001


def _stop_counting(module: nn.Module) -> None:
    hooks = module._forward_pre_hooks  # noqa: SLF001
    for key in [key for key, hook in hooks.items() if hook is _count_batch]:
        del hooks[key]


@torch.no_grad()
def recalibrate_(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running statistics by their cumulative average over ``batches``, at these weights.

    Running statistics are a moving average over the last ten or so training batches, at weights
    that changed meanwhile ("precise batch norm", Wu and Johnson 2021, arXiv 2105.07576). A channel
    that is nearly dead was at rest in all of them: its running variance is close to zero, and the
    first image that wakes it is then scaled up without bound.

    Args:
        network: Left in evaluation mode; nothing but the statistics changes.
        batches: Images in batches of equal size.
    """
    momenta = {module: module.momentum for module in batch_norms(network).values()}
    for module in momenta:
        module.reset_running_stats()
    use_batch_statistics(network)
    for images in batches:
        with theirs(f"model {type(network).__name__}, while its statistics are computed anew"):
            network(images)
    for module, momentum in momenta.items():
        module.momentum = momentum
        _stop_counting(module)
    network.eval()
