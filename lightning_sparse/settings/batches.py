"""The images of one optimizer step: devices, nodes and accumulated batches against the recipe's."""

import math
from collections.abc import Mapping
from typing import Any

from lightning_sparse.errors import UserError
from lightning_sparse.settings.tree import Settings


def with_accumulation(settings: Settings) -> dict[str, Any]:
    """Return the trainer's settings, with the accumulated batches that the recipe asks for.

    A recipe fixes the images per optimizer step, ``global_batch_size``. It is the product of
    ``batch_size``, devices, nodes and accumulated batches; the last of these follows from the
    others where it is null.

    Raises:
        UserError: If the product is not the recipe's, showing the arithmetic.
    """
    trainer = dict(settings.trainer)
    wanted = settings.global_batch_size
    if wanted is None:
        if trainer.get("accumulate_grad_batches", 1) is None:
            trainer["accumulate_grad_batches"] = 1
        return trainer
    devices = num_devices(trainer)
    factors = {
        "batch_size": settings.batch_size,
        "trainer.devices": devices,
        "trainer.num_nodes": num_nodes(trainer),
    }
    at_once = math.prod(factors.values())
    accumulated = trainer.get("accumulate_grad_batches")
    if accumulated is None and wanted % at_once == 0:
        trainer["accumulate_grad_batches"] = wanted // at_once
        return trainer
    if accumulated is not None:
        factors["trainer.accumulate_grad_batches"] = accumulated
    if math.prod(factors.values()) != wanted:
        product = " x ".join(f"{name}={value}" for name, value in factors.items())
        raise UserError(
            f"{product} is {math.prod(factors.values()):,} images per optimizer step, and the "
            f"recipe's global_batch_size={wanted:,} "
            f"{_remedy(wanted, devices * factors['trainer.num_nodes'], settings.batch_size)}"
        )
    return trainer


def num_devices(trainer: Mapping[str, Any]) -> int:
    """Devices per node, counted.

    Raises:
        UserError: If they are not said in a way that can be counted before there are any.
    """
    devices = trainer.get("devices", 1)
    if isinstance(devices, list) and devices:
        return len(devices)
    try:
        count = int(devices)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise UserError(
            f"trainer.devices={devices}: the images per optimizer step depend on it; say how many "
            "there are, for example trainer.devices=8"
        )
    return count


def num_nodes(trainer: Mapping[str, Any]) -> int:
    """Machines that train one network together."""
    return int(trainer.get("num_nodes", 1))


def gpus_of(trainer: Mapping[str, Any]) -> int | tuple[int, ...] | None:
    """Return how many GPUs or which of them are asked for; None if none, or left to Lightning."""
    devices = trainer.get("devices", 1)
    if trainer.get("accelerator") not in {"gpu", "cuda"}:
        return None
    if isinstance(devices, list) and devices and all(isinstance(k, int) for k in devices):
        return tuple(devices)
    return devices if isinstance(devices, int) else None


def _remedy(wanted: int, num_ranks: int, batch_size: int) -> str:
    if wanted % num_ranks:
        return f"cannot be shared by {num_ranks} devices: choose a number that divides it"
    share = wanted // num_ranks
    if share < batch_size:
        return f"is less: say batch_size={share}, or use fewer devices"
    fitting = max(size for size in range(1, batch_size + 1) if share % size == 0)
    return (
        f"is another: say batch_size={fitting} and leave trainer.accumulate_grad_batches=null, "
        "which then follows"
    )
