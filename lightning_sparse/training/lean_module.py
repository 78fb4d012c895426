"""What every LightningModule here has in common: it costs little per step."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer

from lightning_sparse.data.datamodule import ImageDataModule


class LeanModule(pl.LightningModule):
    """A LightningModule that lets Lightning do at little cost what it does at every step.

    Lightning writes into the module about 45 times per step which hook it is in, and
    `torch.nn.Module` would each time find out first that a string is no parameter, no module and no
    buffer: 4 % of a step of the digits network. Should Lightning call the attribute, or what is
    overridden here, something else one day, nothing but the saving is lost.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Forget the gradients, and make no entry in a profiler, as `Optimizer.zero_grad` does."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip if there is a limit, which Lightning looks for anew at every step."""
        if gradient_clip_val is not None:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def _on_before_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Do without the search for hooks where it is known that there are none."""
        if self._batches_are_left_alone():
            return batch
        return super()._on_before_batch_transfer(batch, dataloader_idx)

    def _apply_batch_transfer_handler(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        """Leave a batch on the CPU as it is, likewise."""
        if (device or self.device).type == "cpu" and self._batches_are_left_alone():
            return batch
        return super()._apply_batch_transfer_handler(batch, device, dataloader_idx)

    def _batches_are_left_alone(self) -> bool:
        return self._trainer is not None and isinstance(
            getattr(self._trainer, "datamodule", None), ImageDataModule
        )
