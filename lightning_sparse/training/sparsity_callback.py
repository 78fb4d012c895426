"""When masks act: asks the method whether a change is due, and keeps masked entries at zero."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.application import MaskApplication
from lightning_sparse.sparsity.masks import Masks, Weights, check_masks_fit, layer_counts
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.packed_masks import masks_hash, pack_masks, unpack_masks
from lightning_sparse.sparsity.view import SparseView, no_gradients
from lightning_sparse.training.after_step import AfterStepCallback


class SparsityCallback(AfterStepCallback):
    """Keeps weights, gradients and optimizer state of masked entries at exactly zero.

    How: see `lightning_sparse.sparsity.application.MaskApplication`. The masks live in this
    callback's checkpoint state: never in the network, whose state dict stays the one its author
    defined.

    Under several ranks, each makes its own masks from equal weights. That they agree is checked by
    their hashes whenever they change, since nothing else would notice if they did not.

    Args:
        method: Decides the masks.
        network: Name of the submodule whose weights are pruned, as ``get_submodule`` takes it; ""
            for the whole LightningModule. Masks go by names within it.
        seed: Seed of the ``mask`` stream that a method draws from.
        first_step: Optimizer steps of the schedule that were made before this fit.

    Attributes:
        masks: The masks in force.
        kept_by_step: Kept weights of each layer, by the step of the schedule from which they hold.
    """

    def __init__(
        self,
        method: AbstractSparseMethod,
        *,
        network: str = "",
        seed: int = 0,
        first_step: int = 0,
    ) -> None:
        self.method = method
        self.masks: Masks = {}
        self.kept_by_step: dict[int, dict[str, int]] = {}
        self._network = network
        self._seed = seed
        self._first_step = first_step
        self._state: dict[str, Any] = {}
        self._gradients: Weights = {}
        self._application = MaskApplication({}, {})

    def state_dict(self) -> dict[str, Any]:
        """Return masks and the method's state for the checkpoint, and how they came about."""
        return {
            # Packed, they add 2 % to a checkpoint with momentum; as they are, it would be 12 %.
            "masks": pack_masks(self.masks),
            "kept_by_step": self.kept_by_step,
            "method": self._state,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take those of a checkpoint."""
        self.masks = unpack_masks(state_dict["masks"])
        self.kept_by_step = dict(state_dict["kept_by_step"])
        self._state = dict(state_dict.get("method", {}))

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
        """Ask for the initial masks, unless a checkpoint gave some, and zero what is masked.

        Every strategy has the weights in their final place by now.
        """
        super().on_train_start(trainer, pl_module)
        step = self._first_step + trainer.global_step
        weights = self._weights(pl_module)
        device = next(iter(weights.values())).device
        self._state = tree_map_only(Tensor, lambda tensor: tensor.to(device), self._state)
        if not self.masks:
            view = SparseView.at_start(weights, step=step, state=self._state, seed=self._seed)
            self.masks = self.method.initial_masks(view)
        check_masks_fit(self.masks, weights)
        # A checkpoint's masks are on the CPU.
        self.masks = {name: mask.to(weights[name].device) for name, mask in self.masks.items()}
        self._use(self.masks, weights, trainer, step)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Mask the gradients, after all ranks have averaged them, or update masks instead."""
        step = self._first_step + self._last_step + 1
        if self.method.needs_gradients(step):
            self._gradients = _copied_gradients(self._weights(pl_module))
        if self.method.replaces_update and self.method.is_due(step):
            self._update(trainer, pl_module, step)
            _leave_out_step_(optimizer)
        else:
            self._application.mask_gradients_()

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Change the masks if that is due at this optimizer step."""
        step += self._first_step
        if not self.method.replaces_update and self.method.is_due(step):
            self._update(trainer, module, step)
        self._gradients = {}

    def _update(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        weights = self._weights(module)
        view = SparseView(
            step=step,
            weights=weights,
            masks=self.masks,
            state=self._state,
            seed=self._seed,
            gradients=lambda: self._gradients or no_gradients(),
        )
        masks = self.method.updated_masks(view)
        if masks is not self.masks:
            self.masks = masks
            self._use(masks, weights, trainer, step)

    def _use(self, masks: Masks, weights: Weights, trainer: pl.Trainer, step: int) -> None:
        """Zero weights, gradients and state outside ``masks``; mask gradients from now on."""
        check_ranks_agree(masks, trainer, step)
        counts = {name: layer.kept for name, layer in layer_counts(masks).items()}
        # A resumed run has counted its masks before.
        if not self.kept_by_step or self.kept_by_step[max(self.kept_by_step)] != counts:
            self.kept_by_step[step] = counts
        self._application = MaskApplication(weights, masks)
        self._application.mask_all_(trainer.optimizers[0])

    def _weights(self, module: pl.LightningModule) -> Mapping[str, nn.Parameter]:
        return prunable_weights(module.get_submodule(self._network))


def _copied_gradients(weights: Mapping[str, nn.Parameter]) -> Weights:
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.detach().clone()
        for name, weight in weights.items()
    }


def _leave_out_step_(optimizer: Optimizer) -> None:
    """Take the gradients away: torch's optimizers leave parameters without one as they are."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


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
            "0: the sparse method must be a function of its view alone, and draw random numbers "
            "from view.generator; nothing of this run was kept"
        )
