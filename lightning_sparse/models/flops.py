"""What a network costs in floating-point operations, dense and sparse, in RigL's convention.

Multiply and add count as two. Convolutions and products of matrices count; biases, normalisation,
activations and pooling do not. A sparse layer costs its share of kept weights, which is the cost of
ideal sparse kernels and not of any hardware (Evci et al. 2020, appendix H).
"""

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lightning_sparse.models.probe import ForwardProbe, operations_in_the_open
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import Flops


@dataclass(frozen=True, kw_only=True)
class ForwardFlops:
    """Operations in the forward pass of one image.

    Attributes:
        layers: Those that a prunable weight takes part in, by its name, in module order; 0 for a
            weight that is not used.
        others: All others, which no mask saves: products of activations, as in attention, and with
            weights that are not pruned, as in recurrent layers.
    """

    layers: Mapping[str, int]
    others: int


def forward_flops(model: nn.Module, image_shape: Sequence[int]) -> ForwardFlops:
    """Count what `torch.utils.flop_counter` counts, by the weight that takes part.

    Runs the network once on a copy, so that neither its buffers nor its mode change. A layer that
    runs several times counts each time, however it is called. Models on ``torch.device("meta")``
    cost nothing to run.

    Args:
        model: Any network that takes a batch of images.
        image_shape: Channels, height, width of one image.
    """
    twin = copy.deepcopy(model).eval()
    weights = prunable_weights(twin)
    first = next(iter(weights.values()))
    image = torch.zeros(1, *image_shape, device=first.device, dtype=first.dtype)
    with torch.no_grad(), operations_in_the_open(twin), ForwardProbe(twin) as probe:
        twin(image)
    layers = {name: probe.flops[name] for name in weights}
    return ForwardFlops(layers=layers, others=probe.total_flops - sum(layers.values()))


def layer_flops(model: nn.Module, image_shape: Sequence[int]) -> dict[str, int]:
    """Count the operations of each prunable layer: `forward_flops` without the others."""
    return dict(forward_flops(model, image_shape).layers)


def inference_flops(layer_flops: Mapping[str, int], densities: Mapping[str, float]) -> float:
    """Operations of one forward pass when each layer keeps its share of weights.

    Example:
        >>> inference_flops({"a": 100, "b": 10}, {"a": 0.2, "b": 1.0})
        30.0
    """
    return math.fsum(flops * densities[name] for name, flops in layer_flops.items())


def flops_of_run(
    operations: ForwardFlops,
    prunable: Mapping[str, int],
    kept_by_step: Mapping[int, Mapping[str, int]],
    num_steps: int,
    step_flops: Callable[[int, float, float], float] | None = None,
) -> Flops:
    """Count what an image costs in a run whose masks are known from each step on.

    Args:
        operations: Of one forward pass without masks.
        prunable: Weights of each layer.
        kept_by_step: Kept weights of each layer, by the first step of the run from which they hold.
        num_steps: Optimizer steps of the run.
        step_flops: Operations of the training step that ends at a step, counted from 1, by those of
            a forward pass without and with masks; None for three forward passes with masks.

    Example:
        >>> kept = {0: {"a": 10}, 5: {"a": 2}}
        >>> operations = ForwardFlops(layers={"a": 100}, others=0)
        >>> flops_of_run(operations, {"a": 10}, kept, num_steps=20)
        Flops(dense=100, inference=20.0, training=120.0)
    """
    forward = {
        step: operations.others
        + inference_flops(operations.layers, {name: kept[name] / prunable[name] for name in kept})
        for step, kept in kept_by_step.items()
    }
    dense = sum(operations.layers.values()) + operations.others
    extra = _extra_flops(forward, dense, num_steps, step_flops) if step_flops else 0.0
    return Flops(
        dense=dense,
        inference=forward[max(forward)],
        training=average_training_flops(forward, num_steps) + extra,
    )


def _extra_flops(
    forward: Mapping[int, float],
    dense: float,
    num_steps: int,
    step_flops: Callable[[int, float, float], float],
) -> float:
    """Average over all steps what they cost beyond three forward passes with the masks in force."""
    ends = [*list(forward)[1:], num_steps]
    return (
        math.fsum(
            step_flops(step, dense, sparse) - 3 * sparse
            for (since, sparse), until in zip(forward.items(), ends, strict=True)
            for step in range(since + 1, until + 1)
        )
        / num_steps
    )


def average_training_flops(forward_flops: Mapping[int, float], num_steps: int) -> float:
    """Operations per image and training step, averaged over a run whose masks change.

    Three forward passes per step: one forward and, for the gradients of activations and of weights,
    two of the same cost backward. Holds for dense, fixed-mask and pruned runs; what methods that
    need dense gradients now and then cost beyond it, `flops_of_run` adds.

    Args:
        forward_flops: Operations of one forward pass, by the first step from which they hold; the
            first entry must be for step 0.
        num_steps: Optimizer steps of the run.

    Raises:
        ValueError: If the steps do not start at 0, do not increase, or pass ``num_steps``.

    Example:
        >>> average_training_flops({0: 10.0, 5: 2.0}, num_steps=20)
        12.0
    """
    steps = [*forward_flops, num_steps]
    if steps[0] != 0 or any(later < earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError(f"steps {steps} must start at 0 and increase up to the number of steps")
    spent = (
        flops * (until - since)
        for flops, (since, until) in zip(
            forward_flops.values(), itertools.pairwise(steps), strict=True
        )
    )
    return 3 * math.fsum(spent) / num_steps
