"""A few steps on copies, timed and weighed: what will hold a run up, and what it will need."""

import contextlib
import copy
import functools
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.errors import UserError
from lightning_sparse.models.compiling import compile_
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.application import MaskApplication
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.streams import global_generators_of
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.measurement import Batch
from lightning_sparse.training.optimizers import build_optimizer
from lightning_sparse.training.trainer import quiet

_SECONDS = 1.5  # at most, for each of the two rates
_MOST = 20  # steps

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a few training steps took.

    Attributes:
        loader_rate: Training images per second that the loader gives while nobody computes.
        step_rate: Images per second of forward pass, backward pass and update alone, masks and
            compiling with them.
        num_images: Of the batch that was measured.
        device: Where it was computed.
        weight_bytes: Of parameters and buffers.
        gradient_bytes: Of gradients.
        momentum_bytes: Of the optimizer's state.
        mask_bytes: Of the masks, and of their images that gradients are multiplied by.
        activation_bytes: Of what the forward pass of one batch keeps for the backward pass, not
            compiled.
        evaluation_bytes: Of all that is alive at once while ``num_evaluated`` images are evaluated,
            besides weights; measured on fewer.
        num_evaluated: Images of a batch of evaluation.
    """

    loader_rate: float
    step_rate: float
    num_images: int
    device: torch.device
    weight_bytes: int
    gradient_bytes: int
    momentum_bytes: int
    mask_bytes: int
    activation_bytes: int
    evaluation_bytes: int
    num_evaluated: int

    @property
    def memory_bytes(self) -> int:
        """What a run needs besides the libraries: what stays, and a step or an evaluation."""
        stays = self.weight_bytes + self.gradient_bytes + self.momentum_bytes + self.mask_bytes
        return stays + max(self.activation_bytes, self.evaluation_bytes)


def rehearse(
    network: nn.Module,
    data: ImageDataModule,
    settings: TrainingSettings,
    trainer_options: Mapping[str, Any],
    *,
    is_masked: bool = False,
    is_compiled: bool = False,
) -> Rehearsal:
    """Take a few batches from the loader and a few steps with the first one; nothing is written.

    Args:
        network: At its start weights; a copy is trained.
        data: Gives training batches.
        settings: How a step is made.
        trainer_options: `pytorch_lightning.Trainer` arguments: accelerator and precision.
        is_masked: Whether masks will act on it: they cost the same whatever they keep.
        is_compiled: Whether it will be compiled.

    Raises:
        UserError: If the accelerator is not there, or the training set gives no batch.
    """
    device = _device(trainer_options)
    batch, loader_rate = _loaded(data)
    images, labels = (part.to(device) for part in batch)
    cast = functools.partial(_cast, device, trainer_options.get("precision"))
    with global_generators_of(data.seed, "network"):
        twin = copy.deepcopy(network).to(device).train()
        masks = _any_masks(twin) if is_masked else {}
        application = MaskApplication(prunable_weights(twin) if is_masked else {}, masks)
        optimizer = _optimizer(twin, settings)

        def step() -> None:
            with cast():
                loss = _loss(twin(images), labels, settings)
            loss.backward()
            application.mask_gradients_()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)

        with _kept_for_backward(twin) as kept:
            step()
        with cast():
            evaluated = _alive_in_evaluation(twin, images)
        with quiet():
            if is_compiled:
                compile_(twin)
                step()
            step_rate = _rate(step, len(images), device)
    return Rehearsal(
        loader_rate=loader_rate,
        step_rate=step_rate,
        num_images=len(images),
        device=device,
        **_held(twin, optimizer, masks),
        activation_bytes=sum(kept.values()),
        evaluation_bytes=evaluated * data.evaluation_batch_size // len(images),
        num_evaluated=data.evaluation_batch_size,
    )


def _held(network: nn.Module, optimizer: Optimizer, masks: Masks) -> dict[str, Any]:
    """Say how many bytes are held from step to step."""
    parameters = list(network.parameters())
    return {
        "weight_bytes": _size([*parameters, *network.buffers()]),
        "gradient_bytes": _size(item.grad for item in parameters if item.grad is not None),
        "momentum_bytes": _size_of_state(optimizer),
        "mask_bytes": _size_of_masks(network, masks),
    }


def _optimizer(network: nn.Module, settings: TrainingSettings) -> Optimizer:
    return build_optimizer(
        network,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


def _loss(outputs: Tensor, labels: Tensor, settings: TrainingSettings) -> Tensor:
    return functional.cross_entropy(outputs, labels, label_smoothing=settings.label_smoothing)


def _size_of_masks(network: nn.Module, masks: Masks) -> int:
    """Count for each prunable weight a mask of bytes, and an image of the weight's own type."""
    weights = prunable_weights(network)
    return _size(masks.values()) + _size(weights[name] for name in masks)


def _size_of_state(optimizer: Optimizer) -> int:
    states = optimizer.state.values()
    return _size(v for state in states for v in state.values() if isinstance(v, Tensor))


def _any_masks(network: nn.Module) -> Masks:
    """Keep every second weight."""
    return {
        name: (torch.arange(weight.numel(), device=weight.device) % 2 == 0).view(weight.shape)
        for name, weight in prunable_weights(network).items()
    }


@torch.no_grad()
def _alive_in_evaluation(network: nn.Module, images: Tensor) -> int:
    """Return the most bytes that are alive at once, the images with them and the weights without.

    Network and images are left as they were.
    """
    network.eval()
    with _Alive([*network.parameters(), *network.buffers(), images]) as alive:
        network(images)
    network.train()
    return int(alive.most) + _size([images])


@final
class _Alive(TorchDispatchMode):
    """Adds up the memory of the tensors that operations make, for as long as each is alive."""

    def __init__(self, others: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most: int = 0
        self._sizes = {tensor.untyped_storage().data_ptr(): 0 for tensor in others}

    @override
    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        place = storage.data_ptr()
        if place not in self._sizes:
            self._sizes[place] = storage.nbytes()
            weakref.finalize(storage, self._sizes.pop, place, None)
            self.most = max(self.most, sum(self._sizes.values()))


def _device(trainer_options: Mapping[str, Any]) -> torch.device:
    accelerator = trainer_options.get("accelerator", "cpu")
    if accelerator in {"gpu", "cuda"} and not torch.cuda.is_available():
        raise UserError(
            f"trainer.accelerator={accelerator}: there is no GPU here that torch can use; check on "
            "a machine that has one, or say trainer.accelerator=cpu"
        )
    uses_gpu = accelerator in {"gpu", "cuda", "auto"} and torch.cuda.is_available()
    return torch.device("cuda" if uses_gpu else "cpu")


def _loaded(data: ImageDataModule) -> tuple[Batch, float]:
    """Return the first batch, and the images per second; processes that start do not count."""
    batches = iter(data.train_dataloader())
    begun = time.perf_counter()
    first = next(batches, None)
    if first is None:
        raise UserError("the training set gives no batch; lower batch_size")
    # Readers may give every batch in the same memory.
    kept = (first[0].clone(), first[1].clone())
    num_images = len(first[0])
    if data.num_workers > 0:
        begun, num_images = time.perf_counter(), 0
    for images, _ in batches:
        num_images += len(images)
        if time.perf_counter() - begun > _SECONDS:
            break
    seconds = time.perf_counter() - begun
    close = getattr(batches, "close", None)
    if close is not None:
        close()
    return kept, num_images / seconds if num_images else float("inf")


def _rate(step: Any, num_images: int, device: torch.device) -> float:
    _wait(device)
    begun, num_steps = time.perf_counter(), 0
    while num_steps < _MOST and time.perf_counter() - begun < _SECONDS:
        step()
        _wait(device)
        num_steps += 1
    return num_images * num_steps / (time.perf_counter() - begun)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cast(device: torch.device, precision: Any) -> AbstractContextManager[Any]:
    dtype = _AUTOCAST.get(str(precision))
    return torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()


@contextlib.contextmanager
def _kept_for_backward(network: nn.Module) -> Any:
    """Note what autograd keeps, by where it lies in memory; weights are counted elsewhere."""
    own = {item.untyped_storage().data_ptr() for item in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept


def _size(tensors: Any) -> int:
    return sum(item.numel() * item.element_size() for item in tensors)
