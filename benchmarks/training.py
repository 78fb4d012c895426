"""The same steps by `EndPointRun`, Lightning and all its callbacks, and by a plain loop."""

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.workloads import Batch, Scale, bf16_on_gpu, optimizer_of
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.lr_schedules import AbstractLRSchedule
from lightning_sparse.training.progress import History
from lightning_sparse.training.run import EndPointRun, RunIdentity

_LOOK_EVERY = 100
"""Of a run of 5,000 steps, by default."""


@dataclass(frozen=True, kw_only=True)
class _Clock(AbstractLRSchedule):
    """A constant learning rate that notes when it was asked for: at the end of every step.

    At the two steps between which the time counts it waits for the device first.
    """

    first: int
    last: int
    device: torch.device
    times: dict[int, float] = field(default_factory=dict)

    def factor(self, step: int, num_steps: int) -> float:
        if step in (self.first, self.last) and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.times[step] = time.perf_counter()
        return 1.0

    def seconds_per_step(self) -> float:
        return (self.times[self.last] - self.times[self.first]) / (self.last - self.first)


@dataclass(frozen=True, kw_only=True)
class TimedSteps:
    """Optimizer steps, of which those after ``first`` up to ``last`` are timed.

    Attributes:
        num_steps: Steps in all, at least ``last``.
        first: The last step that is not timed, at least 1.
        last: The last step that is.
        scale: Names the device.
    """

    num_steps: int
    first: int
    last: int
    scale: Scale

    def by_trainer(
        self,
        network: nn.Module,
        data: ImageDataModule,
        method: AbstractSparseMethod | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> float:
        """Train by this project; return seconds per step.

        Args:
            network: Trained in place.
            data: Its batches; the end of the run is measured on it too, which is not timed.
            method: Decides the masks; None for none.
            options: Further arguments of the Trainer.
        """
        clock = self._clock()
        network.train()
        settings = TrainingSettings(
            num_steps=self.num_steps, learning_rate=1e-3, label_smoothing=0.1, lr_schedule=clock
        )
        with tempfile.TemporaryDirectory() as folder:
            EndPointRun(
                network=network,
                method=method or Dense(),
                data=data,
                settings=settings,
                identity=_IDENTITY,
                run_dir=Path(folder),
                history=History(every_steps=_LOOK_EVERY),
                trainer_options={
                    "accelerator": self.scale.device.type, "devices": 1, **(options or {})
                },
            ).train()  # fmt: skip
        return clock.seconds_per_step()

    def by_loop(self, network: nn.Module, batches: Iterable[Batch]) -> float:
        """Train as PyTorch's tutorials do; return seconds per step.

        Args:
            network: On the device already; trained in place.
            batches: Of one epoch, or endless; iterated over again when they end.
        """
        clock = self._clock()
        network.train()
        optimizer = optimizer_of(network)
        schedule = LambdaLR(optimizer, lambda step: clock.factor(step, self.num_steps))
        step = 0
        while step < self.num_steps:
            for images, labels in batches:
                with bf16_on_gpu(images):
                    loss = functional.cross_entropy(network(images), labels, label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                step += 1
                if step == self.num_steps:
                    break
        return clock.seconds_per_step()

    def _clock(self) -> _Clock:
        return _Clock(first=self.first, last=self.last, device=self.scale.device)


_IDENTITY = RunIdentity(
    run_id="benchmark",
    experiment="benchmark",
    method="dense",
    start="init",
    seed=1,
    target_sparsity=0.0,
)
