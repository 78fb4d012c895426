"""How numbers are computed: on which device, in which precision, and whether the same each time."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError

_TRUE_DTYPES = {
    "16-true": torch.float16,
    "bf16-true": torch.bfloat16,
    "64-true": torch.float64,
    "64": torch.float64,
}


def measured_dtype(precision: object) -> torch.dtype:
    """Return what networks are measured in: single precision, or double if they are fitted in it.

    Args:
        precision: Of the fit, in Lightning's words; None for its default.

    Example:
        >>> measured_dtype("bf16-true"), measured_dtype(64)
        (torch.float32, torch.float64)
    """
    return torch.promote_types(_TRUE_DTYPES.get(str(precision), torch.float32), torch.float32)


def as_measured_(network: nn.Module, precision: object) -> None:
    """Bring a network that was fitted in half precision to single, which changes no value.

    In mixed precision it is in single precision all the time; a layer that its author keeps in
    another one stays as it is.
    """
    if str(precision) in _TRUE_DTYPES:
        network.to(measured_dtype(precision))


def at_least_single(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return half-precision tensors in single precision, exactly, and the others as they are."""
    return {
        name: tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        if tensor.is_floating_point()
        else tensor
        for name, tensor in tensors.items()
    }


def accelerator_of(trainer_options: Mapping[str, Any]) -> str:
    """Name the accelerator that Lightning will take: ``cpu``, ``cuda``, ``mps``, or as it is said.

    Args:
        trainer_options: `pytorch_lightning.Trainer` arguments.
    """
    said = str(trainer_options.get("accelerator") or "auto")
    if said not in {"auto", "gpu"}:
        return said
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu" if said == "auto" else said


Deterministic = bool | Literal["warn"]


def is_deterministic(setting: bool | None, trainer_options: Mapping[str, Any]) -> Deterministic:  # noqa: FBT001 (a setting)
    """Decide whether equal runs shall end in the same bits.

    Args:
        setting: What the user says; None for what costs nothing on a CPU, where they do so anyway,
            and is the default on CUDA.
        trainer_options: `pytorch_lightning.Trainer` arguments; ``deterministic`` wins if given.

    Raises:
        UserError: If algorithms shall be chosen by their speed, which differs from time to time.
    """
    by_hand = trainer_options.get("deterministic")
    chosen = setting if by_hand is None else by_hand
    # A GPU that is asked for and is not here may be CUDA's: where runs are submitted from.
    is_cuda = accelerator_of(trainer_options) in {"cuda", "gpu"}
    value: Deterministic = is_cuda if chosen is None else chosen
    if value and trainer_options.get("benchmark"):
        raise UserError(
            "trainer.benchmark=true: chooses algorithms by their speed at the moment, so that "
            "equal runs differ; leave it out, or say deterministic=false"
        )
    return value


def set_deterministic(value: Deterministic) -> None:
    """Tell torch and cuBLAS, for this process: before it computes anything on a GPU.

    Memory that is not written yet is left as it is: filling it, which torch offers, costs a pass
    over every activation, and shows only in a network that reads what it has not written.

    Args:
        value: Whether operations take the same way each time, and those that cannot are refused;
            ``warn`` only warns of these.
    """
    if value:
        # cuBLAS reads it once, when it starts.
        if os.environ.get(_CUBLAS_VARIABLE) not in _CUBLAS_VALUES:
            os.environ[_CUBLAS_VARIABLE] = _CUBLAS_VALUES[0]
        deterministic: Any = torch.utils.deterministic  # without types
        deterministic.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = False
    # Asking for what holds already would import the compiler.
    if value or torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(bool(value), warn_only=value == "warn")


_CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
# https://docs.nvidia.com/cuda/cublas/#results-reproducibility
_CUBLAS_VALUES = (":4096:8", ":16:8")


@contextlib.contextmanager
def true_single_precision(*, unless_tf32: bool | None = None) -> Iterator[None]:
    """Compute products and convolutions of single-precision numbers in single precision.

    By default cuDNN rounds the factors to TF32's eleven bits: the logits of ResNet-50 are then off
    by 4.5e-4 of their norm, instead of 1.9e-6. Whatever was set before is set again afterwards.

    Args:
        unless_tf32: True to compute in TF32, as fast as the device can.
    """
    backends: Any = torch.backends  # in part without types
    places = (
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
        backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn,
    )  # fmt: skip
    before = [place.fp32_precision for place in places]
    by_older_names = torch.get_float32_matmul_precision(), _cudnn_allows_tf32()
    try:
        # By the older names too: torch refuses to say what holds where the two disagree.
        _set_by_older_names("high" if unless_tf32 else "highest", bool(unless_tf32))
        for place in places[: 3 if unless_tf32 else None]:
            place.fp32_precision = "tf32" if unless_tf32 else "ieee"
        yield
    finally:
        _set_by_older_names(*by_older_names)
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


def _set_by_older_names(of_products: str, in_cudnn: bool | None) -> None:  # noqa: FBT001 (a flag of torch)
    torch.set_float32_matmul_precision(of_products)
    if in_cudnn is not None:
        torch.backends.cudnn.allow_tf32 = in_cudnn


def _cudnn_allows_tf32() -> bool | None:
    """Ask by the older name; None where a user has set the two to disagree."""
    try:
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return None
