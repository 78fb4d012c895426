"""What a sparse run needs of the Trainer and the module that it is a guest of."""

import logging
from collections.abc import Mapping, Sequence

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.core.optimizer import _MockOptimizer
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.nn.parameter import UninitializedParameter

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights, weights_left_dense

_SHARDING = (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy)
_SHOWN = 4

_log = logging.getLogger(__name__)


def check_host(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Refuse a fit in which masked weights would not be zero, or steps could not be counted.

    Raises:
        UserError: If the strategy shards parameters, or the module steps its optimizers itself.
    """
    if isinstance(trainer.strategy, _SHARDING):
        raise UserError(
            f"strategy {type(trainer.strategy).__name__} shards parameters, and masks need whole "
            "ones; choose strategy='ddp' or 'auto'"
        )
    if not module.automatic_optimization:
        raise UserError(
            f"{type(module).__name__} steps its optimizers itself (automatic_optimization=False), "
            "so masks would not know what a step is; use automatic optimization"
        )


def check_optimizers(trainer: pl.Trainer) -> None:
    """Refuse several optimizers, and none.

    Raises:
        UserError: Saying how many there are.
    """
    # Lightning puts one of its own in the place of none.
    number = sum(not isinstance(item, _MockOptimizer) for item in trainer.optimizers)
    if number != 1:
        raise UserError(
            f"{number} optimizers: a sparse run needs one; give all parameters to one optimizer, "
            "in groups if they differ"
        )


def length_of(trainer: pl.Trainer) -> int | None:
    """Count the optimizer steps of the whole fit, where anybody can know them beforehand."""
    try:
        length = trainer.estimated_stepping_batches
    except MisconfigurationException:  # batches are accumulated, now more and now fewer
        return None
    return length if isinstance(length, int) else None


def named_weights(network: nn.Module) -> Mapping[str, nn.Parameter]:
    """Return the prunable weights.

    Raises:
        UserError: If there are none, or one has no shape yet.
    """
    for name, parameter in network.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise UserError(
                f"{name!r} has no shape yet; send a batch through the network before the fit"
            )
    return prunable_weights(network)


@rank_zero_only
def say_what_stays_dense(network: nn.Module) -> None:
    """Name, in one line, the matrices that no mask acts on; silent if there are none."""
    if left := weights_left_dense(network):
        count = sum(parameter.numel() for parameter in left.values())
        total = sum(parameter.numel() for parameter in network.parameters())
        _log.warning(
            "note: left dense: %s (%s of %s parameters); only weights of convolutions, linear "
            "layers and attention are pruned",
            listed(list(left)),
            f"{count:,}",
            f"{total:,}",
        )


@rank_zero_only
def say_weights_are_moved(optimizer: object) -> None:
    """Say, in one line, that the optimizer does not treat every entry by itself."""
    _log.warning(
        "note: %s moves masked weights, whose gradient and state are zero: they are set back to "
        "zero after every step",
        type(optimizer).__name__,
    )


def listed(names: Sequence[str]) -> str:
    """Name the first few.

    Example:
        >>> listed(["a", "b", "c", "d", "e", "f"])
        'a, b, c, d and 2 more'
    """
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
