"""Settings of training as files and commands give them. No torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_sparse.fields import NOTHING, check_ranges_of, setting


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a network or a curve is fitted, but for the schedule of its learning rate.

    Attributes:
        num_steps: Optimizer steps of the whole schedule.
        learning_rate: Peak learning rate.
        momentum: Nesterov momentum.
        weight_decay: Lambda of the L2 term on convolution and linear weights.
        label_smoothing: Share of each label spread over all classes, in [0, 1).
        gradient_clip_norm: Largest Euclidean norm of all gradients together, after they are masked;
            None for no limit.
    """

    num_steps: int = setting(at_least=1)
    learning_rate: float = setting(above=0)
    momentum: float = setting(0.9, at_least=0, below=1)
    weight_decay: float = setting(1e-4, at_least=0)
    label_smoothing: float = setting(0.0, at_least=0, below=1)
    gradient_clip_norm: float | None = setting(None, above=0, example=1.0)

    def __post_init__(self) -> None:
        """Refuse what nothing can be fitted with.

        Raises:
            UserError: Naming the setting.
        """
        check_ranges_of(self, "training")


@dataclass(frozen=True, kw_only=True)
class RecipeSettings(FitSettings):
    """The same with the schedule as a file names it: a class and its arguments.

    Attributes:
        lr_schedule: ``_target_`` names the class.
    """

    lr_schedule: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When checkpoints are written. No result depends on it.

    Attributes:
        every_seconds: Least time between two checkpoints.
        largest_share: Largest share of the time that writing may take, in (0, 1]: where the disk is
            slow, checkpoints come less often by themselves.
        keep: Whether a finished run keeps its last checkpoint, which holds the optimizer's state.
    """

    every_seconds: float = setting(30.0, above=0, decides=NOTHING)
    largest_share: float = setting(0.01, above=0, at_most=1, decides=NOTHING)
    keep: bool = setting(default=False, decides=NOTHING)

    def __post_init__(self) -> None:
        """Refuse times and shares that are none.

        Raises:
            UserError: Naming the setting.
        """
        check_ranges_of(self, "checkpoint")
