"""Batch-norm statistics of an interpolated network: five policies, each named in the record.

A network between two trained ones has never seen a batch: which statistics it normalises with
decides what its loss is (Garipov et al. 2018 recompute them, over augmented training images as
they were seen in training; see also REPAIR, Jordan et al. 2022).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn

from lightning_sparse.models.batch_norm import batch_norms

"""``recalibrated``: cumulative average over fixed augmented training images (the default).
``recalibrated_plain``: the same over images that are not augmented, which networks were not trained
on; ``recalibrated`` means this in records of rules 1.
``batch``: statistics of each evaluation batch. ``interpolated``: running statistics of the ends,
interpolated like the weights. ``stored``: running statistics of the nearer end."""

_MIDDLE = 0.5


def nearer_end(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], t: float
) -> Mapping[str, Tensor]:
    """Return what belongs to the nearer end; the middle belongs to the end at t = 1."""
    return start if t < _MIDDLE else end


def interpolated_statistics(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], t: float
) -> dict[str, Tensor]:
    """Interpolate floating-point buffers linearly; counters are taken from the nearer end.

    Outside [0, 1] the statistics are those of the nearer end: extrapolated, a variance could be
    negative.
    """
    t = min(1.0, max(0.0, t))
    nearer = nearer_end(start, end, t)
    return {
        name: torch.lerp(value, end[name], t) if value.is_floating_point() else nearer[name].clone()
        for name, value in start.items()
    }


def average_over_ranks_(statistics: dict[str, Tensor], network: nn.Module) -> None:
    """Replace cumulative averages over each rank's batches by the average over all batches.

    Args:
        statistics: Buffers of ``network`` by name, changed in place.
        network: Says which of them belong to batch-norm modules.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    for name in batch_norms(network):
        prefix = f"{name}." if name else ""
        count = statistics[f"{prefix}num_batches_tracked"]
        total = count.to(statistics[f"{prefix}running_mean"].device, copy=True)
        own_share = total.double()
        distributed.all_reduce(total)
        for key in ("running_mean", "running_var"):
            weighted = statistics[prefix + key].double() * own_share / total
            distributed.all_reduce(weighted)
            statistics[prefix + key].copy_(weighted)
        count.copy_(total)
