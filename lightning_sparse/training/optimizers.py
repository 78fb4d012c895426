"""The optimizer: SGD with Nesterov momentum, and L2 on convolution and linear weights only."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from lightning_sparse.models.prunable import prunable_weights

_SINGLE_OR_DOUBLE = (torch.float32, torch.float64)


def build_optimizer(
    network: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float
) -> SGD:
    """Build the optimizer that every arm shares.

    The decayed weights are exactly the prunable ones, chosen by module type: batch-norm parameters
    and biases are neither decayed nor pruned (Gale et al. 2019, recipe in their code). PyTorch's
    ``weight_decay`` of lambda is the gradient of half lambda times the squared norm.

    Args:
        network: Any network; parameters without ``requires_grad`` are left out.
        learning_rate: Peak learning rate.
        momentum: Nesterov momentum in (0, 1), or 0 for plain SGD.
        weight_decay: Lambda, at least 0.
    """
    decayed = [weight for weight in prunable_weights(network).values() if weight.requires_grad]
    decayed_ids = {id(parameter) for parameter in decayed}
    others = [
        parameter
        for parameter in network.parameters()
        if parameter.requires_grad and id(parameter) not in decayed_ids
    ]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return build_sgd(groups, learning_rate=learning_rate, momentum=momentum)


def build_sgd(groups: Sequence[dict[str, Any]], *, learning_rate: float, momentum: float) -> SGD:
    """Build SGD for groups of parameters: fused where that is right, with gradients as they are.

    A fused optimizer offers to undo the scaling of 16-mixed precision inside its step. That is
    declined: gradients would still be scaled where they are masked, clipped and observed, and
    Lightning would refuse to clip in any mixed precision. On CUDA the fused step has also been seen
    to move the momentum in a step that overflows and is to be left out
    (https://github.com/LibreYOLO/libreyolo/pull/771).

    Args:
        groups: As `torch.optim.SGD` takes them.
        learning_rate: Peak learning rate.
        momentum: Nesterov momentum in (0, 1), or 0 for plain SGD.
    """
    optimizer = SGD(
        groups,
        lr=learning_rate,
        momentum=momentum,
        nesterov=momentum > 0,
        fused=_may_be_fused(parameter for group in groups for parameter in group["params"]),
    )
    optimizer._step_supports_amp_scaling = False  # noqa: SLF001 (what GradScaler and Lightning read)
    return optimizer


def _may_be_fused(parameters: Iterable[Tensor]) -> bool:
    """Whether the fused step updates all of them.

    On the CPU that of torch 2.12 and 2.13 leaves most of a half-precision parameter as it was
    (https://github.com/pytorch/pytorch/issues/191763).
    """
    return all(item.device.type != "cpu" or item.dtype in _SINGLE_OR_DOUBLE for item in parameters)
