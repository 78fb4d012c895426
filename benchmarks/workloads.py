"""Networks, batches and plain training steps that several rows measure."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.digits import build_digits
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.models.build import build_model
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.models.resnet import BottleneckResNet, build_resnet50
from lightning_sparse.paths.curves import Bezier
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.process.heap import keep_freed_memory
from lightning_sparse.sparsity.application import MaskApplication
from lightning_sparse.sparsity.masks import Masks, layerwise_masks
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.optimizers import build_optimizer

Batch = tuple[Tensor, Tensor]
T = TypeVar("T")

DIGITS_BATCH = 64
SPARSITY = 0.9
_SEED = 1
_GPU_WARM_UPS = 3
_MILLISECONDS = 1e3
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where a row runs, and whether it is to say something or only to run.

    Attributes:
        device: Where the work is done.
        is_tiny: Whether every size is the smallest with the same code path: for tests; the times
            then mean nothing.
    """

    device: torch.device = _CPU
    is_tiny: bool = False

    def choose(self, full: T, tiny: T) -> T:
        """Return one of two sizes."""
        return tiny if self.is_tiny else full


def timed(work: Callable[[], object], *, repeats: int = 1, scale: Scale) -> Callable[[], float]:
    """Return a measurement of ``work`` in seconds per call.

    On a GPU the time passes between two events of its stream, the first on an idle device: what the
    host has still to do then counts, and what it has only queued counts too.

    Args:
        work: What is measured; called before, so that no measurement is its first.
        repeats: Calls per measurement, so that one lasts far longer than the clock's tick.
        scale: Names the device, which is waited for.
    """
    is_on_gpu = scale.device.type == "cuda"
    # Libraries choose their algorithms, and the allocator its blocks, in more calls than one; work
    # that is measured in single calls is long, and makes many by itself.
    for _ in range(_GPU_WARM_UPS if is_on_gpu and repeats > 1 else 1):
        work()
    seconds = _seconds_on_gpu if is_on_gpu else _seconds_here
    return lambda: seconds(work, repeats) / repeats


def _seconds_here(work: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - started


def _seconds_on_gpu(work: Callable[[], object], repeats: int) -> float:
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    started.record()
    for _ in range(repeats):
        work()
    ended.record()
    torch.cuda.synchronize()
    return float(started.elapsed_time(ended)) / _MILLISECONDS


def use_cores(count: int | None = None) -> None:
    """Let torch use this many cores; all that this process may run on if None.

    And keep freed memory, as a run of this project does. All sides gain by that, peers too, and
    their times no longer hang on how the sides share a heap: at 32 x 128 px a step of ResNet-50
    then takes 0 instead of 0 to 120,000 page faults.
    """
    keep_freed_memory()
    torch.set_num_threads(count or _usable_cores())


def _usable_cores() -> int:
    """Count the cores that this process may run on: where it is bound to one, two threads wait."""
    bound = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1


@dataclass(frozen=True)
class _Images:
    num_classes: int
    image_shape: tuple[int, int, int]


def resnet50(scale: Scale) -> nn.Module:
    """Build ResNet-50 as a user of this project gets it: channels last, in training mode."""
    if scale.is_tiny:
        network = build_model(
            lambda: BottleneckResNet(10, width_multiplier=1 / 16, layers=(1, 1, 1, 1)),
            _Images(10, (3, 16, 16)),
            _SEED,
            "init",
        )
    else:
        network = build_model(build_resnet50, _Images(1000, (3, 64, 64)), _SEED, "init")
    return network.to(scale.device).to(memory_format=torch.channels_last).train()


def small_resnet(width_multiplier: float) -> nn.Module:
    """Build ResNet-50's topology in another width, for small images in ten classes."""
    network = BottleneckResNet(10, width_multiplier=width_multiplier)
    return network.to(memory_format=torch.channels_last).train()


def digits_network(scale: Scale) -> nn.Module:
    """Build the network of the digits experiment."""
    network = build_model(ConvNet, _Images(10, (1, 8, 8)), _SEED, "init")
    return network.to(scale.device).to(memory_format=torch.channels_last).train()


def random_batch(batch_size: int, pixels: int, scale: Scale) -> Batch:
    """Make one batch of noise in the classes of `resnet50`."""
    generator = torch.Generator().manual_seed(_SEED)
    images = torch.randn(batch_size, 3, pixels, pixels, generator=generator)
    labels = torch.randint(scale.choose(1000, 10), (batch_size,), generator=generator)
    return (
        images.to(scale.device, memory_format=torch.channels_last),
        labels.to(scale.device),
    )


def digits_batch(scale: Scale) -> Batch:
    """Take the first batch of the digits, not augmented."""
    train = build_digits().train
    assert isinstance(train, TensorImages)
    images, labels = train.images[:DIGITS_BATCH], train.labels[:DIGITS_BATCH]
    return images.to(scale.device), labels.to(scale.device)


def settings(num_steps: int = 1000) -> TrainingSettings:
    """Return the settings of every measured fit; a small rate keeps weights finite for long."""
    return TrainingSettings(num_steps=num_steps, learning_rate=1e-3, label_smoothing=0.1)


def optimizer_of(network: nn.Module) -> SGD:
    """Build the optimizer that this project trains with."""
    chosen = settings()
    return build_optimizer(
        network,
        learning_rate=chosen.learning_rate,
        momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
    )


def bf16_on_gpu(images: Tensor) -> torch.autocast:
    """Return the context of mixed precision for images that are on a GPU; of nothing elsewhere."""
    return torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda)


def plain_step(
    network: nn.Module,
    batch: Batch,
    before_update: Callable[[], object] | None = None,
    optimizer: SGD | None = None,
) -> Callable[[], object]:
    """Return one training step as anyone writes it.

    Args:
        network: In training mode.
        batch: Images and labels.
        before_update: Called between the gradients and the update.
        optimizer: The network's; built if not given.
    """
    images, labels = batch
    optimizer = optimizer or optimizer_of(network)

    def step() -> None:
        with bf16_on_gpu(images):
            loss = functional.cross_entropy(network(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        if before_update:
            before_update()
        optimizer.step()

    return step


def masked_step(
    scale: Scale,
    batch: Batch,
    prepared: Callable[[nn.Module], nn.Module] = lambda network: network,
) -> Callable[[], object]:
    """Return the step as `SparsityCallback` masks it.

    Args:
        scale: Names the device.
        batch: Images and labels.
        prepared: What is done with the network first.
    """
    network = prepared(resnet50(scale))
    optimizer = optimizer_of(network)
    application = MaskApplication(prunable_weights(network), masks_of(network))
    application.mask_all_(optimizer)
    return plain_step(network, batch, application.mask_gradients_, optimizer)


class _CountingPath(PathModule):
    """Counts its steps itself, for want of a Trainer: each has a t of its own."""

    num_steps_taken = 0

    @property
    def global_step(self) -> int:
        return self.num_steps_taken % self.settings.num_steps


def path_step(
    network: nn.Module, batch: Batch, *, degree: int, is_sparse: bool, compiled: bool = False
) -> Callable[[], object]:
    """Return the step that the Trainer makes of a `PathModule`, without the Trainer."""
    end = {name: value + 0.01 for name, value in network.state_dict().items()}
    module = _CountingPath(
        network=network,
        start=network.state_dict(),
        end=end,
        curve=Bezier(degree),
        subspace=masks_of(network) if is_sparse else None,
        settings=settings(),
        seed=1,
        compiled=compiled,
    ).to(batch[0].device)
    module.on_fit_start()
    optimizer: SGD = module.configure_optimizers()["optimizer"]

    def step() -> None:
        with bf16_on_gpu(batch[0]):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.num_steps_taken += 1

    return step


def magnitude_masks(weights: Mapping[str, Tensor], sparsity: float = SPARSITY) -> Masks:
    """Keep the largest weights of every layer."""
    return layerwise_masks(
        ((name, weight.detach().abs()) for name, weight in weights.items()),
        {name: round((1 - sparsity) * weight.numel()) for name, weight in weights.items()},
    )


def masks_of(network: nn.Module) -> Masks:
    """`magnitude_masks` of the prunable weights."""
    return magnitude_masks(prunable_weights(network))


def noise_data(batch_size: int, pixels: int, scale: Scale) -> ImageDataModule:
    """Make two batches of noise for `resnet50`, in memory."""
    images, labels = random_batch(2 * batch_size, pixels, Scale(is_tiny=scale.is_tiny))
    stored = TensorImages(images.contiguous(), labels)
    source = ImageSource(
        name="noise",
        train=stored,
        test=TensorImages(stored.images[:batch_size], labels[:batch_size]),
        num_classes=scale.choose(1000, 10),
        image_shape=(3, pixels, pixels),
        augmentation=RandomShift(1),
    )
    return ImageDataModule(
        source,
        batch_size=batch_size,
        seed=1,
        evaluation_batch_size=batch_size,
        train_subset_size=batch_size,
    )
