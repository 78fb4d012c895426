"""Batches of the digits, against `torch.utils.data.DataLoader` over a `TensorDataset`.

The peer shuffles and collates as its documentation says, and does not augment at all, which is
the easier task: this project shifts every image by draws of its own.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import (
    DIGITS_BATCH,
    Scale,
    digits_batch,
    digits_network,
    plain_step,
    timed,
    use_cores,
)
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.digits import build_digits
from lightning_sparse.data.source import TensorImages

# A loader that takes longer than a tenth of the step would be worth a thread of its own.
_SHARE_OF_STEP = 0.1


def trials(scale: Scale) -> Iterator[Trial]:
    """One epoch, per batch."""
    use_cores(1)
    source = build_digits()
    assert isinstance(source.train, TensorImages)
    peer = DataLoader(
        TensorDataset(source.train.images, source.train.labels),
        batch_size=DIGITS_BATCH,
        shuffle=True,
        drop_last=True,
    )
    ours = ImageDataModule(source, batch_size=DIGITS_BATCH, seed=1).train_dataloader()
    step = plain_step(digits_network(scale), digits_batch(scale))
    yield Trial(
        name=f"one batch of {DIGITS_BATCH} digits",
        sides={
            "loader": Side(what="this project, shifted", measure=_per_batch(ours, scale)),
            "DataLoader": Side(
                what=f"torch.utils.data.DataLoader, TensorDataset, torch {torch.__version__}",
                measure=_per_batch(peer, scale),
            ),
            "step": Side(
                what="plain training step of the digits network, for scale",
                measure=timed(step, repeats=scale.choose(50, 1), scale=scale),
            ),
        },
        claims=[
            Claim(
                statement="loader / DataLoader",
                quantity=Ratio("loader", "DataLoader"),
                bar=1 / 5,
            ),
            Claim(
                statement="loader / step: never the bottleneck",
                quantity=Ratio("loader", "step"),
                bar=_SHARE_OF_STEP,
            ),
        ],
        seconds=10,
    )


def _per_batch(loader: Iterable[object], scale: Scale) -> Callable[[], float]:
    num_epochs = scale.choose(5, 1)

    def epochs() -> None:
        for _ in range(num_epochs):
            for _ in loader:
                pass

    num_batches = len(build_digits().train) // DIGITS_BATCH
    epoch_seconds = timed(epochs, scale=scale)
    return lambda: epoch_seconds() / (num_epochs * num_batches)
