"""A whole run of this project, Lightning and all its callbacks, against a plain loop.

Both sides take the same steps from the same loader with the same optimizer and schedule. The peer
is the loop of PyTorch's own tutorials: forward, `zero_grad`, `backward`, `step`, and a `LambdaLR`.
The run is `train_endpoint` as it is, with masks callback, history, checkpoints and signals; what it
does before the first and after the last of the timed steps is not counted.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import (
    DIGITS_BATCH,
    Scale,
    digits_network,
    noise_data,
    optimizer_of,
    resnet50,
    use_cores,
)
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.digits import build_digits
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.lr_schedules import AbstractLRSchedule
from lightning_sparse.training.progress import History
from lightning_sparse.training.run import RunIdentity, train_endpoint

_LOOK_EVERY = 100
"""Of a run of 5,000 steps, by default."""


def trials(scale: Scale) -> Iterator[Trial]:
    """The digits step on one core, and ResNet-50 on all."""
    use_cores(1)
    digits = ImageDataModule(build_digits(), batch_size=DIGITS_BATCH, seed=1)
    last = scale.choose(400, 4)
    yield _trial(
        f"step of the digits network, {DIGITS_BATCH} images",
        _Work(digits_network(scale), digits, num_steps=last, last=last - 1, scale=scale),
        bar=1.15,
        seconds=40,
    )
    use_cores()
    size = scale.choose((16, 64), (2, 16))
    yield _trial(
        f"step of ResNet-50, {size[0]} x {size[1]} px",
        _Work(resnet50(scale), noise_data(*size, scale), num_steps=5, last=4, scale=scale),
        bar=1.03,
        seconds=60,
    )


def run_digits(scale: Scale) -> None:
    """Train the digits network in this project's way, for the memory that takes."""
    use_cores(1)
    digits = ImageDataModule(build_digits(), batch_size=DIGITS_BATCH, seed=1)
    _Work(digits_network(scale), digits, num_steps=4, last=3, scale=scale).trainer()


@dataclass(frozen=True, kw_only=True)
class _Clock(AbstractLRSchedule):
    """A constant learning rate that notes when it was asked for: at the end of every step."""

    times: dict[int, float] = field(default_factory=dict)

    def factor(self, step: int, num_steps: int) -> float:
        self.times[step] = time.perf_counter()
        return 1.0

    def seconds_per_step(self, last: int) -> float:
        return (self.times[last] - self.times[1]) / (last - 1)


class _Work:
    """The same steps on both sides, timed from the end of the first to the end of ``last``."""

    def __init__(
        self, network: nn.Module, data: ImageDataModule, *, num_steps: int, last: int, scale: Scale
    ) -> None:
        self.network = network
        self.data = data
        self.num_steps = num_steps
        self.last = last
        self.scale = scale

    def trainer(self) -> float:
        clock = _Clock()
        self.network.train()
        settings = TrainingSettings(
            num_steps=self.num_steps, learning_rate=1e-3, label_smoothing=0.1, lr_schedule=clock
        )
        with tempfile.TemporaryDirectory() as folder:
            train_endpoint(
                network=self.network,
                method=Dense(),
                data=self.data,
                settings=settings,
                identity=RunIdentity(
                    run_id="benchmark",
                    experiment="benchmark",
                    method="dense",
                    start="init",
                    seed=1,
                    target_sparsity=0.0,
                ),
                run_dir=Path(folder),
                history=History(every_steps=_LOOK_EVERY),
                trainer_options={"accelerator": self.scale.device.type, "devices": 1},
            )
        return clock.seconds_per_step(self.last)

    def plain_loop(self) -> float:
        clock = _Clock()
        network = self.network.train()
        optimizer = optimizer_of(network)
        schedule = LambdaLR(optimizer, lambda step: clock.factor(step, self.num_steps))
        loader = self.data.train_dataloader()
        step = 0
        while step < self.num_steps:
            for images, labels in loader:
                loss = functional.cross_entropy(network(images), labels, label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                step += 1
                if step == self.num_steps:
                    break
        return clock.seconds_per_step(self.last)


def _trial(name: str, work: _Work, *, bar: float, seconds: float) -> Trial:
    # The first of each is not measured.
    work.trainer(), work.plain_loop()
    return Trial(
        name=name,
        sides={
            "Trainer": Side(what="this project, all callbacks", measure=work.trainer),
            "loop": Side(what=f"plain loop, torch {torch.__version__}", measure=work.plain_loop),
        },
        claims=[Claim(statement="Trainer / loop", quantity=Ratio("Trainer", "loop"), bar=bar)],
        seconds=seconds,
    )
