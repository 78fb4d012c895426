"""Loss and accuracy of a network on a fixed set of images: the one definition of both."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import Evaluation

Batch = tuple[Tensor, Tensor]

CPU = torch.device("cpu")


def on_device(
    batches: Iterable[Batch], device: torch.device, dtype: torch.dtype | None = None
) -> Iterator[Batch]:
    """Move each batch to ``device``, without waiting where the loader has pinned its memory.

    Args:
        batches: Pairs of images and labels.
        device: Where they go.
        dtype: What images of floating-point numbers become; None leaves them as they are.
    """
    for images, labels in batches:
        there = images.to(device, non_blocking=True)
        there = there.to(dtype) if images.is_floating_point() else there
        yield there, labels.to(device, non_blocking=True)


def half_squared_norm(weights: Iterable[Tensor]) -> float:
    """Half the sum of squares over all entries, accumulated in double precision."""
    return 0.5 * math.fsum(float(weight.detach().double().square().sum()) for weight in weights)


def decayed_half_squared_norm(network: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """`half_squared_norm` of those ``weights`` that the optimizer decays in ``network``."""
    return half_squared_norm(weights[name] for name in prunable_weights(network))


class Measurement:
    """Accumulates batches of logits into an `Evaluation`, over all ranks if there are several.

    Losses are summed in double precision, so that the result does not hang on the batch size. A
    rank whose share is empty counts nothing, and takes part.

    Args:
        num_classes: Number of classes.
        device: Where the logits will be; ranks exchange their sums there.
    """

    def __init__(self, num_classes: int, device: torch.device = CPU) -> None:
        # torchmetrics averages over classes unless told otherwise.
        self._accuracy = MulticlassAccuracy(
            num_classes=num_classes, average="micro", validate_args=False
        ).to(device)
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._num_images = 0

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count one batch: logits (batch, class) and labels (batch)."""
        losses = functional.cross_entropy(
            logits.to(torch.promote_types(logits.dtype, torch.float32)), labels, reduction="none"
        ).double()
        self._accuracy.update(logits, labels)
        self._sum += float(losses.sum())
        self._sum_of_squares += float(losses.square().sum())
        self._num_images += len(labels)

    def result(self, *, penalty: float) -> Evaluation:
        """Return the evaluation so far; ``penalty`` is what the objective adds to the loss."""
        total, total_of_squares, count = self._over_all_ranks()
        mean = total / count
        variance = max(0.0, total_of_squares / count - mean**2)
        return Evaluation(
            loss=mean,
            loss_standard_error=math.sqrt(variance / max(1, count - 1)),
            objective=mean + penalty,
            accuracy=float(self._accuracy.compute()),
            num_images=int(count),
        )

    def _over_all_ranks(self) -> list[float]:
        """Add up what the ranks counted; torchmetrics does so by itself."""
        sums = [self._sum, self._sum_of_squares, float(self._num_images)]
        if not (distributed.is_available() and distributed.is_initialized()):
            return sums
        together = torch.tensor(sums, dtype=torch.float64, device=self._accuracy.device)
        distributed.all_reduce(together)
        return together.tolist()


@torch.no_grad()
def measure(
    forward: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    *,
    num_classes: int,
    penalty: float,
    device: torch.device = CPU,
    dtype: torch.dtype | None = None,
) -> Evaluation:
    """Run ``forward`` over every batch and measure what comes out.

    Args:
        forward: Images to logits; in evaluation mode already.
        batches: Pairs of images and labels.
        num_classes: Number of classes.
        penalty: What the objective adds to the loss, in nats.
        device: Where ``forward`` computes.
        dtype: In what, if not in that of the images.
    """
    measurement = Measurement(num_classes, device)
    for images, labels in on_device(batches, device, dtype):
        measurement.update(forward(images), labels)
    return measurement.result(penalty=penalty)
