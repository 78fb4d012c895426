"""Learning-rate schedules: pure functions from the optimizer step to a factor of the peak rate."""

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lightning_sparse.errors import UserError


class AbstractLRSchedule(ABC):
    """A factor in [0, 1] for every optimizer step of a run of ``num_steps`` steps."""

    @abstractmethod
    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor of the peak learning rate in the update that follows ``step`` steps."""


@final
@dataclass(frozen=True, kw_only=True)
class WarmupCosine(AbstractLRSchedule):
    """Rise linearly, then fall along half a cosine to zero.

    Attributes:
        warmup_fraction: Share of the run spent rising, in [0, 1).

    Example:
        >>> schedule = WarmupCosine(warmup_fraction=0.1)
        >>> [round(schedule.factor(step, 100), 2) for step in (0, 9, 10, 55)]
        [0.1, 1.0, 1.0, 0.5]
    """

    warmup_fraction: float = 0.05

    def __post_init__(self) -> None:
        _check_fraction("warmup_fraction", self.warmup_fraction)

    def factor(self, step: int, num_steps: int) -> float:
        """Linear, then half a cosine."""
        warmup_steps = round(self.warmup_fraction * num_steps)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        falling_steps = max(1, num_steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / falling_steps))


@final
@dataclass(frozen=True, kw_only=True)
class WarmupSteps(AbstractLRSchedule):
    """Rise linearly, then drop by a constant factor at each milestone.

    The ImageNet recipes of Gale et al. 2019 and RigL (Evci et al. 2020) have this form; with their
    epochs it is `WarmupEpochs`.

    Attributes:
        warmup_fraction: Share of the run spent rising, in [0, 1).
        milestones: Shares of the run at which the rate drops, in [0, 1).
        drop: What the rate is multiplied by at each milestone, in [0, 1).

    Example:
        >>> schedule = WarmupSteps(warmup_fraction=0.0, milestones=(0.5, 0.75))
        >>> [round(schedule.factor(step, 100), 3) for step in (0, 49, 50, 75)]
        [1.0, 1.0, 0.1, 0.01]
    """

    warmup_fraction: float = 0.05
    milestones: Sequence[float] = (0.3, 0.7, 0.9)
    drop: float = 0.1

    def __post_init__(self) -> None:
        _check_fraction("warmup_fraction", self.warmup_fraction)
        for milestone in self.milestones:
            _check_fraction("milestones", milestone)
        _check_fraction("drop", self.drop)

    def factor(self, step: int, num_steps: int) -> float:
        """Linear, then a staircase."""
        warmup_steps = round(self.warmup_fraction * num_steps)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        passed = sum(step >= round(milestone * num_steps) for milestone in self.milestones)
        return float(self.drop**passed)


@final
@dataclass(frozen=True, kw_only=True)
class WarmupEpochs(AbstractLRSchedule):
    """`WarmupSteps` with its landmarks at epochs, as the ImageNet recipes are published.

    Epoch e is step ``round(e * images_per_epoch / images_per_step)``, however long the run is.

    Attributes:
        images_per_epoch: Size of the training set.
        images_per_step: Images per optimizer step, over all ranks.
        warmup_epochs: When the peak is reached.
        milestones: Epochs at which the rate drops.
        drop: What the rate is multiplied by at each milestone, in [0, 1).

    Example:
        >>> schedule = WarmupEpochs(images_per_epoch=1_281_167, images_per_step=4096)
        >>> [round(schedule.factor(step, 32_000), 4) for step in (0, 1563, 9383, 9384, 28151)]
        [0.0006, 1.0, 1.0, 0.1, 0.001]
    """

    images_per_epoch: int
    images_per_step: int
    warmup_epochs: float = 5
    milestones: Sequence[float] = (30, 70, 90)
    drop: float = 0.1

    def __post_init__(self) -> None:
        """Refuse landmarks that are nowhere."""
        for name in ("images_per_epoch", "images_per_step"):
            if getattr(self, name) < 1:
                raise UserError(f"lr_schedule.{name}={getattr(self, name)}: must be at least 1")
        for epoch in (self.warmup_epochs, *self.milestones):
            if epoch < 0:
                raise UserError(f"lr_schedule: epoch {epoch} lies before the start; must be >= 0")
        _check_fraction("drop", self.drop)

    def factor(self, step: int, num_steps: int) -> float:
        """Linear, then a staircase."""
        warmup_steps = self.step_of(self.warmup_epochs)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return float(self.drop ** sum(step >= self.step_of(epoch) for epoch in self.milestones))

    def step_of(self, epoch: float) -> int:
        """Return the optimizer step at which an epoch begins, rounded."""
        return round(epoch * self.images_per_epoch / self.images_per_step)


@final
@dataclass(frozen=True, kw_only=True)
class Repeated(AbstractLRSchedule):
    """A schedule several times over, each in an equal share of the run.

    Attributes:
        schedule: Of each share.
        times: How many shares there are, at least 1; bounds between them are rounded down.

    Example:
        >>> schedule = Repeated(schedule=WarmupCosine(warmup_fraction=0.1), times=2)
        >>> [round(schedule.factor(step, 100), 2) for step in (0, 4, 25, 49, 50)]
        [0.2, 1.0, 0.59, 0.0, 0.2]
    """

    schedule: AbstractLRSchedule
    times: int

    def __post_init__(self) -> None:
        """Refuse no schedule at all."""
        if self.times < 1:
            raise UserError(f"lr_schedule.times={self.times}: must be at least 1")

    def factor(self, step: int, num_steps: int) -> float:
        """That of the schedule, from the beginning of the share on."""
        bounds = [share * num_steps // self.times for share in range(self.times + 1)]
        # At the end of the run, which is no step any more, as at the end of a schedule.
        share = min(bisect.bisect_right(bounds, step), self.times) - 1
        return self.schedule.factor(step - bounds[share], bounds[share + 1] - bounds[share])


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"lr_schedule.{name}={value}: must lie in [0, 1)")
