"""What a run sees of itself at one optimizer step, besides its loss: numbers by name, for history.

Read only when a look is due: every number here waits for the device.
"""

import resource
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.masks import layer_counts, sparsity_of
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.measurement import decayed_half_squared_norm
from lightning_sparse.training.sparsity_callback import SparsityCallback

_STATUS = Path("/proc/self/status")  # of Linux
_KIB_PER_GIB = 2**20


class EndPointObserver:
    """Observes a classifier that is trained under masks.

    Args:
        module: What is trained.
        sparsity: Holds the masks.
    """

    def __init__(self, module: ClassifierModule, sparsity: SparsityCallback) -> None:
        self._module = module
        self._sparsity = sparsity

    def __call__(self, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
        """Return what can be seen after an optimizer step on ``batch``, images and labels.

        The gradient norm is that of the prunable weights that are kept: gradients of the others are
        zero by now. The objective adds the penalty of the weights *after* the step.
        """
        module = self._module
        network = module.network
        penalty = module.settings.weight_decay * decayed_half_squared_norm(
            network, dict(network.named_parameters())
        )
        counts = layer_counts(self._sparsity.masks)
        return {
            **batch_results(module.latest_logits, batch[1], penalty=penalty),
            "target_sparsity": self._sparsity.method.target_sparsity(module.schedule_step),
            "measured_sparsity": sparsity_of(counts),
            **self._sparsity.observations(),
            "gradient_norm": gradient_norm(prunable_weights(network).values()),
            "layer_sparsity": {
                name: 1 - count.kept / count.prunable for name, count in counts.items()
            },
        }


@torch.no_grad()
def batch_results(logits: Tensor, labels: Tensor, *, penalty: float) -> dict[str, float]:
    """Measure one training batch as it went through the network, augmented and in training mode.

    Args:
        logits: Of shape (batch, class).
        labels: Of shape (batch).
        penalty: Half the weight decay times the squared norm of decayed weights, in nats.

    Returns:
        Cross-entropy without label smoothing and objective, both in nats, and top-1 accuracy in
        [0, 1].
    """
    cross_entropy = float(functional.cross_entropy(logits.float(), labels))
    return {
        "batch_cross_entropy": cross_entropy,
        "batch_objective": cross_entropy + penalty,
        "batch_accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
    }


def gradient_norm(weights: Iterable[Tensor]) -> float:
    """Euclidean norm over the gradients of all ``weights`` that have one; 0 if none has.

    Example:
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> gradient_norm([weight, torch.zeros(2, requires_grad=True)])
        5.0
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def peak_memory_gib(device: torch.device) -> float:
    """Most memory that was in use at once, in GiB.

    On a GPU what torch has allocated there; otherwise what the whole process has had resident.
    """
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**30
    # Linux counts in KiB.
    return _most_resident_kib() / _KIB_PER_GIB


def _most_resident_kib() -> int:
    """Read how much of this process was resident at most.

    What ``getrusage`` says begins with the size of the process that started this one.
    """
    if not _STATUS.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fields = dict(line.split(":", 1) for line in _STATUS.read_text("utf-8").splitlines())
    return int(fields["VmHWM"].split()[0])
