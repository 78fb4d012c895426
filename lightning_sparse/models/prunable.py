"""Which parameters of a network may be pruned, found by module type."""

from torch import nn
from torch.nn.modules.conv import _ConvNd

from lightning_sparse.errors import UserError


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Collect the weights of all convolutions and linear layers, in module order.

    The same set carries the weight decay: biases and normalisation parameters do neither. A weight
    that several modules share comes once, under the name that ``named_parameters`` gives it.

    Raises:
        UserError: If there are none, or one is computed from other tensors (weight norm and other
            parametrisations), which a mask on the stored parameters could not keep at zero.
    """
    prunable = set()
    for name, module in model.named_modules():
        if isinstance(module, _ConvNd | nn.Linear):
            if not isinstance(module.weight, nn.Parameter):
                raise UserError(
                    f"layer {name!r}: its weight is parametrised and cannot be masked; "
                    "remove the parametrisation from the model"
                )
            prunable.add(id(module.weight))
    if not prunable:
        raise UserError(
            f"model {type(model).__name__} has no convolution or linear layer, so nothing can be "
            "pruned; choose another model"
        )
    return {name: weight for name, weight in model.named_parameters() if id(weight) in prunable}
