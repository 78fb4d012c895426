"""The LightningModule that trains one network; it knows nothing of masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from lightning_sparse.errors import theirs
from lightning_sparse.training.lean_module import LeanModule
from lightning_sparse.training.lr_schedules import AbstractLRSchedule, WarmupCosine
from lightning_sparse.training.optimizers import build_optimizer
from lightning_sparse.training.settings import FitSettings


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(FitSettings):
    """How a network is fitted; equal over the arms except for the tuned learning rate.

    Attributes:
        lr_schedule: Factor of the learning rate by step.
    """

    lr_schedule: AbstractLRSchedule = field(default_factory=WarmupCosine)

    def with_clipping(self, trainer_options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Add the limit to Trainer arguments that do not say one."""
        return {"gradient_clip_val": self.gradient_clip_norm, **(trainer_options or {})}


class ClassifierModule(LeanModule):
    """Minimises smoothed cross-entropy plus L2 (through weight decay) of any classifier.

    Args:
        network: Any module from images to logits; its state dict stays its own.
        settings: How it is fitted.
        first_step: Optimizer step of the schedule that the first update is; above 0 when a run
            goes on from rewound weights.
    """

    def __init__(self, network: nn.Module, settings: TrainingSettings, first_step: int = 0) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.first_step = first_step
        self.latest_logits = torch.empty(0)  # of the last training batch, for who observes the run

    @property
    def schedule_step(self) -> int:
        """Optimizer steps completed, counted from the start of the schedule."""
        return self.first_step + self.trainer.global_step

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's logits."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the smoothed cross-entropy of one batch.

        Raises:
            UserError: With what the network raised.
        """
        images, labels = batch
        with theirs(f"model {type(self.network).__name__}, in training"):
            logits = self.network(images)
        self.latest_logits = logits.detach()
        return functional.cross_entropy(
            logits, labels, label_smoothing=self.settings.label_smoothing
        )

    def configure_optimizers(self) -> Any:
        """Build the optimizer that all arms share, and the schedule from ``first_step`` on."""
        settings = self.settings
        optimizer = build_optimizer(
            self.network,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

        def factor(step: int) -> float:
            return settings.lr_schedule.factor(self.first_step + step, settings.num_steps)

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
        }
