"""The optimizer: SGD with Nesterov momentum, and L2 on convolution and linear weights only."""

from torch import nn
from torch.optim import SGD

from lightning_sparse.models.prunable import prunable_weights


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
    return SGD(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=learning_rate,
        momentum=momentum,
        nesterov=momentum > 0,
        fused=True,
    )
