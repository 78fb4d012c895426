"""How important each weight is: larger scores are kept longer."""

from jaxtyping import Float
from torch import Tensor


def magnitude(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Score by absolute value.

    Example:
        >>> import torch
        >>> magnitude(torch.tensor([-2.0, 1.0]))
        tensor([2., 1.])
    """
    return weight.detach().abs()
