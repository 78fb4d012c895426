"""How the parameters of a network lie in memory: each by itself, without gaps."""

import itertools

import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def settle_memory_(network: nn.Module) -> None:
    """Copy parameters and buffers that are transposed or have gaps into memory of their own.

    Fused optimizers, masks and flat vectors go through memory in order, and a view with gaps comes
    out of them with other numbers. A parameter that several modules share stays one.

    Raises:
        UserError: If entries of a parameter share memory, as after ``expand``, or two parameters
            do: an update of the one would change the other.
    """
    for name, parameter in network.named_parameters():
        if _shares_with_itself(parameter):
            raise UserError(
                f"model {type(network).__name__}: entries of parameter {name!r} share memory "
                "(strides "
                f"{parameter.stride()}, as after expand), so they cannot be trained one by one; "
                "make it of a .clone(), or keep the one number and expand it in forward"
            )
    tensors = [tensor for both in (network.parameters(), network.buffers()) for tensor in both]
    for tensor in tensors:
        if not _is_plain(tensor):
            # The object stays, and with it whatever shares or names it.
            tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)
    _check_apart(network)


def _is_plain(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided:
        return True
    last = _CHANNELS_LAST.get(tensor.dim())
    return tensor.is_contiguous() or (last is not None and tensor.is_contiguous(memory_format=last))


def _shares_with_itself(tensor: Tensor) -> bool:
    """Whether two entries lie at one place: some step is shorter than what lies below it."""
    axes = sorted(
        (stride, size)
        for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
        if size > 1
    )
    below = 0  # how far the axes with shorter steps reach
    for stride, size in axes:
        if stride <= below:
            return True
        below += stride * (size - 1)
    return False


def _check_apart(network: nn.Module) -> None:
    spans = sorted(
        (parameter.data_ptr(), parameter.data_ptr() + parameter.nbytes, name)
        for name, parameter in network.named_parameters()
        if parameter.data_ptr()
    )
    for (_, end, first), (begin, _, second) in itertools.pairwise(spans):
        if begin < end:
            raise UserError(
                f"model {type(network).__name__}: parameters {first!r} and {second!r} share memory "
                "without being one parameter; assign the same Parameter to both modules, or "
                "make one of them of a .clone()"
            )
