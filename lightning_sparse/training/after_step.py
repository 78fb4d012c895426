"""Callbacks that act once after every optimizer step, however many batches a step accumulates."""

from typing import Any

import pytorch_lightning as pl


class AfterStepCallback(pl.Callback):
    """Calls `after_step` after each optimizer step; in Lightning a batch is not always a step."""

    _last_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note where the fit begins, which is not 0 where it resumes."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Call `after_step` if this batch has ended a step."""
        step = trainer.global_step
        # The hook also fires inside a gradient-accumulation window, where no step was made.
        if step != self._last_step:
            self._last_step = step
            self.after_step(trainer, pl_module, step)

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Act after an optimizer step.

        Args:
            trainer: Who fits.
            module: What is fitted.
            step: Optimizer steps of this fit completed, those before a resume included.
        """
