"""Loss and accuracy of a network on a fixed set of images: the one definition of both."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_stat_scores

from lightning_sparse.data.prefetch import one_ahead
from lightning_sparse.errors import theirs
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import Evaluation

Batch = tuple[Tensor, Tensor]

CPU = torch.device("cpu")


def on_device(
    batches: Iterable[Batch], device: torch.device, dtype: torch.dtype | None = None
) -> Iterator[Batch]:
    """Move each batch to ``device``, one ahead of its use; see `lightning_sparse.data.prefetch`.

    Args:
        batches: Pairs of images and labels.
        device: Where they go.
        dtype: What images of floating-point numbers become; None leaves them as they are.
    """
    for images, labels in one_ahead(batches, device):
        yield images.to(dtype) if images.is_floating_point() else images, labels


def half_squared_norm(weights: Iterable[Tensor]) -> float:
    """Half the sum of squares over all entries, accumulated in double precision."""
    return _half_squared_norms([list(weights)])[0]


def decayed_half_squared_norm(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """`half_squared_norm` of those ``weights`` that the optimizer decays in ``network``."""
    return decayed_half_squared_norms(network, [weights])[0]


def decayed_half_squared_norms(
    network: nn.Module, points: Iterable[Mapping[str, Tensor]]
) -> list[float]:
    """`decayed_half_squared_norm` of the weights of many points, waiting for the device once."""
    names = list(prunable_weights(network))
    return _half_squared_norms([[weights[name] for name in names] for weights in points])


def _half_squared_norms(groups: Sequence[Sequence[Tensor]]) -> list[float]:
    squares = [weight.detach().double().square().sum() for group in groups for weight in group]
    on_host = iter(torch.stack(squares).tolist() if squares else [])
    return [0.5 * math.fsum(itertools.islice(on_host, len(group))) for group in groups]


class Measurement:
    """Accumulates batches of logits into an `Evaluation`, over all ranks if there are several.

    Losses are summed in double precision, so that the result does not hang on the batch size, and
    on the device, so that no batch is waited for. A rank whose share is empty counts nothing, and
    takes part.

    Args:
        device: Where the logits will be; ranks exchange their sums there.
    """

    def __init__(self, device: torch.device = CPU) -> None:
        # Of losses, of their squares, of right answers.
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._num_images = 0

    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: logits (batch, class) and labels (batch)."""
        losses = functional.cross_entropy(
            logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction="none"
        ).double()
        # Without its checks of values, for which it would wait; over all classes, as one mean.
        num_right = multiclass_stat_scores(
            logits, labels, num_classes=logits.shape[1], average="micro", validate_args=False
        )[0]
        self._sums += torch.stack([losses.sum(), losses.square().sum(), num_right.double()])
        self._num_images += len(labels)

    def result(self, *, penalty: float) -> Evaluation:
        """Return the evaluation so far; ``penalty`` is what the objective adds to the loss."""
        return results([self], [penalty])[0]

    @property
    def totals(self) -> Tensor:
        """Sums of losses, of their squares and of right answers, and the number of images."""
        return functional.pad(self._sums, (0, 1), value=self._num_images)


def results(measurements: Sequence[Measurement], penalties: Sequence[float]) -> list[Evaluation]:
    """Return several evaluations, waiting for the device, and for other ranks, once.

    Args:
        measurements: All on one device.
        penalties: What the objective of each adds to its loss.
    """
    totals = torch.stack([measurement.totals for measurement in measurements])
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(totals)
    return [
        _evaluation(sums, penalty) for sums, penalty in zip(totals.tolist(), penalties, strict=True)
    ]


def _evaluation(sums: Sequence[float], penalty: float) -> Evaluation:
    total, total_of_squares, num_right, count = sums
    mean = total / count
    variance = max(0.0, total_of_squares / count - mean**2)
    return Evaluation(
        loss=mean,
        loss_standard_error=math.sqrt(variance / max(1, count - 1)),
        objective=mean + penalty,
        # In single precision, as in the records that are published.
        accuracy=float(np.float32(num_right) / np.float32(count)),
        num_images=int(count),
    )


@torch.no_grad()
def measure(
    forward: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    *,
    penalty: float,
    device: torch.device = CPU,
    dtype: torch.dtype | None = None,
) -> Evaluation:
    """Run ``forward`` over every batch and measure what comes out.

    Args:
        forward: Images to logits; in evaluation mode already.
        batches: Pairs of images and labels.
        penalty: What the objective adds to the loss, in nats.
        device: Where ``forward`` computes.
        dtype: In what, if not in that of the images.

    Raises:
        UserError: With what ``forward`` raised.
    """
    measurement = Measurement(device)
    for images, labels in on_device(batches, device, dtype):
        with theirs(f"model {type(forward).__name__}, while it is measured"):
            logits = forward(images)
        measurement.update(logits, labels)
    return measurement.result(penalty=penalty)
