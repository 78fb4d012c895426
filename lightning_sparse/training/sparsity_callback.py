"""When masks act: asks the method whether a change is due, and keeps masked entries at zero."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.application import MaskApplication, reset_state_
from lightning_sparse.sparsity.masks import (
    Masks,
    Weights,
    check_masks_fit,
    full_masks,
    layer_counts,
)
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.packed_masks import masks_hash, pack_masks, unpack_masks
from lightning_sparse.sparsity.view import SparseView, no_gradients
from lightning_sparse.training.after_step import AfterStepCallback
from lightning_sparse.training.hosts import (
    check_host,
    check_optimizers,
    length_of,
    named_weights,
    say_weights_are_moved,
    say_what_stays_dense,
)
from lightning_sparse.training.network_probe import Batches, NetworkProbe
from lightning_sparse.training.reparameterised import TrainedWeights


class SparsityCallback(AfterStepCallback):
    """Keeps weights, gradients and optimizer state of masked entries at exactly zero.

    How: see `lightning_sparse.sparsity.application.MaskApplication`. The masks live in this
    callback's checkpoint state: never in the network, whose state dict stays the one its author
    defined.

    Under several ranks, each makes its own masks from equal weights. That they agree is checked by
    their hashes whenever they change, since nothing else would notice if they did not.

    A guest in any Trainer: the module may be anything that Lightning optimizes automatically with
    one optimizer of any kind; what cannot be done right is refused in one line.

    Args:
        method: Decides the masks.
        network: Name of the submodule whose weights are pruned, as ``get_submodule`` takes it; ""
            for the whole LightningModule. Masks go by names within it.
        seed: Seed of the ``mask`` stream that a method draws from.
        first_step: Optimizer steps of the schedule that were made before this fit.
        announces: Whether to say in one line which matrices no mask acts on.
        probe_batches: Gives this rank's fixed batches for methods that probe the network; None for
            the first ones of the training loader.

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
        announces: bool = True,
        probe_batches: Batches | None = None,
    ) -> None:
        self.method = method
        self.masks: Masks = {}
        self.kept_by_step: dict[int, dict[str, int]] = {}
        self._network = network
        self._seed = seed
        self._first_step = first_step
        self._announces = announces
        self._probe_batches = probe_batches
        self._state: dict[str, Any] = {}
        self._gradients: Weights = {}
        self._rates: Mapping[str, float] = {}
        self._application = MaskApplication({}, {})
        self._used_at = 0  # the step after which the masks in force began to hold
        self._masks_weights = method.removed_momentum == "keep"
        rule = method.reparameterisation()
        self._trained = TrainedWeights(rule) if rule else None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse what cannot be done right.

        Raises:
            UserError: Naming it.
        """
        if stage == "fit":
            check_host(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return masks and the method's state for the checkpoint, and how they came about."""
        return {
            # Packed, they add 2 % to a checkpoint with momentum; as they are, it would be 12 %.
            "masks": pack_masks(self.masks),
            "kept_by_step": self.kept_by_step,
            "method": self._state,
            **({"trained": self._trained.weights} if self._trained else {}),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take those of a checkpoint."""
        self.masks = unpack_masks(state_dict["masks"])
        self.kept_by_step = dict(state_dict["kept_by_step"])
        self._state = dict(state_dict.get("method", {}))
        if self._trained:
            self._trained.weights = dict(state_dict.get("trained", {}))

    def observations(self) -> Mapping[str, float]:
        """Return what the method reports of itself by now."""
        return self.method.observations(self._state)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse a checkpoint without masks, which Lightning would take without a word.

        Raises:
            UserError: If there are none, or no trained weights where the method has some.
        """
        state = checkpoint["callbacks"].get(self.state_key, {})
        if not state.get("masks"):
            raise UserError(
                "the checkpoint holds no masks; resume from one that this program wrote"
            )
        if self._trained and not state.get("trained"):
            raise UserError(
                f"the checkpoint holds no weights that {type(self.method).__name__} trains; resume "
                "with the method that wrote it"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask for the initial masks, unless a checkpoint gave some, and zero what is masked.

        Every strategy has the weights in their final place by now.
        """
        super().on_train_start(trainer, pl_module)
        check_optimizers(trainer)
        step = self._first_step + trainer.global_step
        if (length := length_of(trainer)) is not None:
            self.method.check_length(self._first_step + length)
        weights = self._weights(pl_module)
        if self._announces:
            say_what_stays_dense(pl_module.get_submodule(self._network))
        device = next(iter(weights.values())).device
        self._state = tree_map_only(Tensor, lambda tensor: tensor.to(device), self._state)
        if self._trained:
            self._trained.begin(weights)
        if not self.masks:
            self._begin(trainer, pl_module, step)
        check_masks_fit(self.masks, weights)
        # A checkpoint's masks are on the CPU.
        self.masks = {name: mask.to(weights[name].device) for name, mask in self.masks.items()}
        self._use(trainer, pl_module, step)

    def _begin(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Ask the method for masks, and for other start weights."""
        weights = self._weights(module)
        view = self._view(trainer, module, weights, full_masks(weights), step)
        self.masks = self.method.initial_masks(view)
        started = self.method.start_weights(view.weights, self.masks)
        with torch.no_grad():
            for name, value in (started or {}).items():
                view.weights[name].copy_(value)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Mask the gradients, after all ranks have averaged them, or update masks instead."""
        step = self._first_step + self._last_step + 1
        if self.method.moves_weights:
            self._rates = rates_of(optimizer, self._weights(pl_module))
        if self.method.needs_gradients(step):
            self._gradients = _copied_gradients(self._weights(pl_module))
        if self.method.replaces_update and self.method.is_due(step):
            self._update(trainer, pl_module, step)
            _leave_out_step_(optimizer)
        elif self._trained:
            self._trained.before_step_(*self._shown(trainer, pl_module, step))
        else:
            self._application.mask_gradients_()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Let the network compute again, if an optimizer has had the trained weights."""
        if self._trained and self._trained.in_network:
            step = self._first_step + trainer.global_step
            self._trained.after_step_(*self._shown(trainer, pl_module, step))
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Change the masks if that is due at this optimizer step."""
        step += self._first_step
        if self.method.moves_weights:
            self._move(trainer, module, step)
        if not self._trained:
            self._keep_at_zero(trainer, step)
        if not self.method.replaces_update and self.method.is_due(step):
            self._update(trainer, module, step)
        self._gradients = {}

    def _move(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Let the method move what the optimizer has stepped, unless its step was left out."""
        weights, view = self._shown(trainer, module, step)
        if all(weight.grad is None for weight in weights.values()):
            return
        moved = self.method.moved_weights(view, self._rates)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(moved[name])

    def _keep_at_zero(self, trainer: pl.Trainer, step: int) -> None:
        if self._masks_weights:
            self._application.mask_weights_()
        elif _is_power_of_two(step - self._used_at) and self._application.leaks():
            say_weights_are_moved(trainer.optimizers[0])
            self._masks_weights = True
            self._application.mask_weights_()

    def _update(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        weights = self._weights(module)
        masks = self.method.updated_masks(self._view(trainer, module, weights, self.masks, step))
        if masks is not self.masks:
            if self._begins_afresh:
                grown = {name: mask & ~self.masks[name] for name, mask in masks.items()}
                reset_state_(trainer.optimizers[0], weights, grown)
            self.masks = masks
            self._use(trainer, module, step)

    def _view(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        weights: Weights,
        masks: Masks,
        step: int,
    ) -> SparseView:
        return SparseView(
            step=step,
            weights=self._trained.weights if self._trained else weights,
            masks=masks,
            state=self._state,
            seed=self._seed,
            gradients=lambda: self._gradients or no_gradients(),
            probe=lambda: NetworkProbe(
                trainer, module, self._network, self._seed, self._probe_batches
            ),
        )

    def _shown(
        self, trainer: pl.Trainer, module: pl.LightningModule, step: int
    ) -> tuple[Mapping[str, nn.Parameter], SparseView]:
        """Give the parameters that show trained weights, and a view with their gradients."""
        weights = self._weights(module)
        view = self._view(trainer, module, weights, self.masks, step)
        return weights, replace(view, gradients=lambda: _copied_gradients(weights))

    @property
    def _begins_afresh(self) -> bool:
        """Whether grown weights may find state of their own, and are not to have it."""
        method = self.method
        return method.removed_momentum == "keep" and method.new_momentum == "zero"

    def _use(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Zero weights, gradients and state outside the masks; mask gradients from now on."""
        masks, optimizer, weights = self.masks, trainer.optimizers[0], self._weights(module)
        check_ranks_agree(masks, trainer, step)
        counts = {name: layer.kept for name, layer in layer_counts(masks).items()}
        # A resumed run has counted its masks before.
        if not self.kept_by_step or self.kept_by_step[max(self.kept_by_step)] != counts:
            self.kept_by_step[step] = counts
        self._used_at = step
        if self._trained:
            shown = self._shown(trainer, module, step)
            self._trained.show_(*shown)
            self._trained.settle_(*shown, optimizer)
            return
        self._application = MaskApplication(weights, masks)
        self._application.mask_all_(optimizer, keeps_state=self.method.removed_momentum == "keep")

    def _weights(self, module: pl.LightningModule) -> Mapping[str, nn.Parameter]:
        return named_weights(module.get_submodule(self._network))


def _is_power_of_two(number: int) -> bool:
    """Whether it is time for a look: right after masks change, then ever less often.

    Not once only, for the first step may move nothing: its learning rate can be 0, or its gradients
    overflow.

    Example:
        >>> [number for number in range(20) if _is_power_of_two(number)]
        [1, 2, 4, 8, 16]
    """
    return number.bit_count() == 1


def _copied_gradients(weights: Mapping[str, nn.Parameter]) -> Weights:
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.detach().clone()
        for name, weight in weights.items()
    }


def rates_of(optimizer: Optimizer, weights: Mapping[str, nn.Parameter]) -> dict[str, float]:
    """Return the learning rate of each weight; 0 for one that the optimizer does not have."""
    rates = {
        parameter: float(group["lr"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    return {name: rates.get(weight, 0.0) for name, weight in weights.items()}


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
