"""Batch-norm statistics of an interpolated network: four policies, each named in the record.

A network between two trained ones has never seen a batch: which statistics it normalises with
decides what its loss is (Garipov et al. 2018 recompute them; see also REPAIR, Jordan et al. 2022).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

BatchNormPolicy = Literal["recalibrated", "batch", "interpolated", "stored"]
"""``recalibrated``: cumulative average over fixed unaugmented training images (the default).
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
