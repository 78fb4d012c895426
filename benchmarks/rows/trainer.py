"""A whole run of this project, Lightning and all its callbacks, against a plain loop.

Both sides take the same steps from the same loader with the same optimizer and schedule. The peer
is the loop of PyTorch's own tutorials: forward, `zero_grad`, `backward`, `step`, and a `LambdaLR`.
The run is `EndPointRun` as it is, with masks callback, history, checkpoints and signals; what it
does before the first and after the last of the timed steps is not counted.
"""

from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.training import TimedSteps
from benchmarks.workloads import (
    DIGITS_BATCH,
    Scale,
    digits_network,
    noise_data,
    resnet50,
    use_cores,
)
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.digits import build_digits


def trials(scale: Scale) -> Iterator[Trial]:
    """The digits step on one core, and ResNet-50 on all."""
    use_cores(1)
    last = scale.choose(400, 4)
    yield _trial(
        f"step of the digits network, {DIGITS_BATCH} images",
        TimedSteps(num_steps=last, first=1, last=last - 1, scale=scale),
        digits_network(scale),
        digits_data(),
        bar=1.15,
        seconds=40,
    )
    use_cores()
    size = scale.choose((16, 64), (2, 16))
    yield _trial(
        f"step of ResNet-50, {size[0]} x {size[1]} px",
        TimedSteps(num_steps=5, first=1, last=4, scale=scale),
        resnet50(scale),
        noise_data(*size, scale),
        bar=1.03,
        seconds=60,
    )


def digits_data() -> ImageDataModule:
    """Return the digits in batches."""
    return ImageDataModule(build_digits(), batch_size=DIGITS_BATCH, seed=1)


def run_digits(scale: Scale) -> None:
    """Train the digits network in this project's way, for the memory that takes."""
    use_cores(1)
    steps = TimedSteps(num_steps=4, first=1, last=3, scale=scale)
    steps.by_trainer(digits_network(scale), digits_data())


def _trial(
    name: str,
    steps: TimedSteps,
    network: nn.Module,
    data: ImageDataModule,
    *,
    bar: float,
    seconds: float,
) -> Trial:
    def trainer() -> float:
        return steps.by_trainer(network, data)

    def loop() -> float:
        return steps.by_loop(network, data.train_dataloader())

    # The first of each is not measured.
    trainer(), loop()
    return Trial(
        name=name,
        sides={
            "Trainer": Side(what="this project, all callbacks", measure=trainer),
            "loop": Side(what=f"plain loop, torch {torch.__version__}", measure=loop),
        },
        claims=[Claim(statement="Trainer / loop", quantity=Ratio("Trainer", "loop"), bar=bar)],
        seconds=seconds,
    )
