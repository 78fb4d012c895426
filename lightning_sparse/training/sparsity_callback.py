"""When masks act: asks the method whether a change is due, and keeps masked entries at zero."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.application import MaskApplication
from lightning_sparse.sparsity.masks import (
    Masks,
    check_masks_fit,
    layer_counts,
    masks_hash,
    pack_masks,
    unpack_mask,
)
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.training.classifier_module import ClassifierModule


class SparsityCallback(pl.Callback):
    """Keeps weights, gradients and momentum of masked entries at exactly zero.

    How: see `lightning_sparse.sparsity.application.MaskApplication`. The masks live in this
    callback's checkpoint state: never in the network, whose state dict stays the one its author
    defined.

    Under several ranks, each makes its own masks from equal weights. That they agree is checked by
    their hashes whenever they change, since nothing else would notice if they did not.

    Args:
        method: Decides the masks.

    Attributes:
        masks: The masks in force.
        kept_by_step: Kept weights of each layer, by the step of the schedule from which they hold.
    """

    def __init__(self, method: AbstractSparseMethod) -> None:
        self.method = method
        self.masks: Masks = {}
        self.kept_by_step: dict[int, dict[str, int]] = {}
        self._last_step = -1
        self._application = MaskApplication({}, {})

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Ask for the initial masks; a checkpoint that is loaded afterwards replaces them."""
        if not self.masks:
            self.masks = self.method.initial_masks(_prunable(pl_module))

    def state_dict(self) -> dict[str, Any]:
        """Return the masks, which Lightning puts into the checkpoint, and how they came about."""
        packed = pack_masks(self.masks)
        return {
            # Packed, they add 2 % to a checkpoint with momentum; as they are, it would be 12 %.
            "masks": {
                name: {"shape": list(mask.shape), "bits": packed[name]}
                for name, mask in self.masks.items()
            },
            "kept_by_step": self.kept_by_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the masks of a checkpoint."""
        self.masks = {
            name: unpack_mask(packed["bits"], packed["shape"])
            for name, packed in state_dict["masks"].items()
        }
        self.kept_by_step = dict(state_dict["kept_by_step"])

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse a checkpoint without masks, which Lightning would take without a word.

        Raises:
            UserError: If there are none.
        """
        if not checkpoint["callbacks"].get(self.state_key, {}).get("masks"):
            raise UserError(
                "the checkpoint holds no masks; resume from one that this program wrote"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Zero what is masked; every strategy has the weights in their final place by now."""
        weights = _prunable(pl_module)
        check_masks_fit(self.masks, weights)
        # A checkpoint's masks, and those made before the network moved, are on the CPU.
        self.masks = {name: mask.to(weights[name].device) for name, mask in self.masks.items()}
        self._last_step = _module(pl_module).schedule_step
        self._use(self.masks, weights, trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Mask the gradients, after all ranks have averaged them."""
        self._application.mask_gradients_()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Change the masks if that is due at this optimizer step."""
        step = _module(pl_module).schedule_step
        # The hook also fires inside a gradient-accumulation window, where no step was made.
        if step == self._last_step:
            return
        self._last_step = step
        if self.method.is_due(step):
            weights = _prunable(pl_module)
            self.masks = self.method.updated_masks(weights, self.masks, step)
            self._use(self.masks, weights, trainer)

    def _use(self, masks: Masks, weights: Mapping[str, Tensor], trainer: pl.Trainer) -> None:
        """Zero weights, gradients and momentum outside ``masks``; mask gradients from now on."""
        check_ranks_agree(masks, trainer, self._last_step)
        counts = {name: layer.kept for name, layer in layer_counts(masks).items()}
        # A resumed run has counted its masks before.
        if not self.kept_by_step or self.kept_by_step[max(self.kept_by_step)] != counts:
            self.kept_by_step[self._last_step] = counts
        self._application = MaskApplication(weights, masks)
        self._application.mask_all_(trainer.optimizers[0])


def check_ranks_agree(masks: Masks, trainer: pl.Trainer, step: int) -> None:
    """Compare the masks of all ranks by their hashes.

    Args:
        masks: Those of this rank.
        trainer: Knows the other ranks.
        step: Step of the schedule, for the message.

    Raises:
        UserError: On every rank, naming those whose masks are not rank 0's.
    """
    if trainer.world_size == 1:
        return
    digest = torch.frombuffer(bytearray.fromhex(masks_hash(masks)), dtype=torch.uint8)
    digest = digest.to(trainer.strategy.root_device)
    digests = [torch.empty_like(digest) for _ in range(trainer.world_size)]
    distributed.all_gather(digests, digest)
    odd = [rank for rank, theirs in enumerate(digests) if not torch.equal(theirs, digests[0])]
    if odd:
        raise UserError(
            f"after step {step} the masks of rank {', '.join(map(str, odd))} are not those of rank "
            "0: the sparse method must be a function of weights, masks and step alone, and draw "
            "random numbers from lightning_sparse.streams; nothing of this run was kept"
        )


def _module(pl_module: pl.LightningModule) -> ClassifierModule:
    if not isinstance(pl_module, ClassifierModule):
        raise TypeError(
            f"SparsityCallback needs a ClassifierModule, not {type(pl_module).__name__}"
        )
    return pl_module


def _prunable(pl_module: pl.LightningModule) -> Mapping[str, Tensor]:
    return prunable_weights(_module(pl_module).network)
