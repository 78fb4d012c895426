"""Which parameters of a network may be pruned, found by module type, and which stay dense."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from lightning_sparse.errors import UserError

# Attention projects queries, keys and values by one weight, or by three if their sizes differ; its
# fourth projection is a linear layer.
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Collect the weights of convolutions, linear layers and attention, in module order.

    The same set carries the weight decay: biases and normalisation parameters do neither. A weight
    that several modules share comes once, under the name that ``named_parameters`` gives it.

    Raises:
        UserError: If there are none, or one is computed from other tensors (weight norm and other
            parametrisations), which a mask on the stored parameters could not keep at zero.
    """
    prunable = set()
    for name, module in model.named_modules():
        for key in _weight_names(module):
            weight = getattr(module, key)
            if weight is None:
                continue
            if not isinstance(weight, nn.Parameter):
                raise UserError(
                    f"layer {name!r}: its weight is parametrised and cannot be masked; "
                    "remove the parametrisation from the model"
                )
            prunable.add(id(weight))
    if not prunable:
        raise UserError(
            f"model {type(model).__name__} has no convolution or linear layer, so nothing can be "
            "pruned; choose another model"
        )
    return {name: weight for name, weight in model.named_parameters() if id(weight) in prunable}


def weights_left_dense(model: nn.Module) -> dict[str, nn.Parameter]:
    """Collect the parameters that are matrices or more, and that no mask and no decay acts on.

    For example those of recurrent layers and embeddings; biases and normalisation are not meant.
    """
    prunable = prunable_weights(model)
    left_out = normalisation_parameters(model)
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if name not in prunable
        and name not in left_out
        and sum(size > 1 for size in parameter.shape) > 1
    }


def normalisation_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Collect scale and shift of normalisation layers, in module order."""
    norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NORMALISATIONS)
        for parameter in module.parameters(recurse=False)
    }
    return {
        name: parameter for name, parameter in model.named_parameters() if id(parameter) in norms
    }


def scales(model: nn.Module) -> list[nn.Parameter]:
    """Collect what normalisation layers multiply by, in module order."""
    found = {
        id(module.weight): module.weight
        for module in model.modules()
        if isinstance(module, _NORMALISATIONS) and module.weight is not None
    }
    return list(found.values())


def _weight_names(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.MultiheadAttention):
        return _PROJECTIONS
    return ("weight",) if isinstance(module, _ConvNd | nn.Linear) else ()
