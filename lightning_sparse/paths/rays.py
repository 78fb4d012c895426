"""Rays: from a point straight down the gradient of the loss, along some of its coordinates."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.errors import UserError
from lightning_sparse.models.batch_norm import batch_norms, recalibrate_
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.paths.batch_norm import average_over_ranks_
from lightning_sparse.paths.settings import EvaluationSettings, RayCoordinates
from lightning_sparse.records import PathPoint
from lightning_sparse.sparsity.masks import Masks, Weights, global_masks, kept_and_prunable
from lightning_sparse.sparsity.ranking import inside, random_scores
from lightning_sparse.streams import stream_generator
from lightning_sparse.training.ranks import is_first_rank, sum_over_ranks

_REST = 0.02

LENGTHS = (0.0, *(2.0**-k for k in range(20, -1, -1)))
"""Where a ray is measured before it is refined: how far down one can go is not known before."""

Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Mean and variance of every batch norm, by name."""


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Along which coordinates one goes down.

    Attributes:
        coordinates: Prunable weights ``inside`` the masks of the point, ``outside``, or
            ``outside_random``: as many outside as there are inside, drawn over all layers together.
    """

    coordinates: RayCoordinates

    def masks(self, masks: Masks, seed: int) -> Masks:
        """Choose the coordinates.

        Args:
            masks: Of the point.
            seed: Of the ``mask`` stream that random ones are drawn from.

        Example:
            >>> Ray(coordinates="outside").masks({"a": torch.tensor([True, False])}, 1)
            {'a': tensor([False,  True])}
        """
        if self.coordinates == "inside":
            return masks
        outside = {name: ~mask for name, mask in masks.items()}
        kept, prunable = kept_and_prunable(masks)
        if self.coordinates == "outside" or prunable - kept <= kept:
            return outside
        scores = random_scores(
            {name: mask.float() for name, mask in masks.items()},
            stream_generator(seed, "mask", 0, 3),
        )
        return global_masks({name: inside(scores[name], outside[name]) for name in masks}, kept)

    def end(self, state: Mapping[str, Tensor], gradient: Weights, chosen: Masks) -> dict[str, Any]:
        """Return the state at the ray's end: as far away as the prunable weights are long.

        Args:
            state: State dict of the point.
            gradient: Of the loss there, by the prunable weights' names.
            chosen: The coordinates.

        Raises:
            UserError: If the gradient is zero along all of them.
        """
        steps = {name: gradient[name].double() * mask for name, mask in chosen.items()}
        slope = _norm(steps)
        if slope == 0:
            raise UserError(
                f"path.ray={self.coordinates}: the gradient is zero along these coordinates, so "
                "there is no way down"
            )
        scale = _norm({name: state[name].double() for name in chosen}) / slope
        moved = {
            name: (state[name].double() - scale * step).to(state[name].dtype)
            for name, step in steps.items()
        }
        return {**state, **moved}


def evaluate_ray(
    measure: Callable[[Sequence[float]], list[PathPoint]], settings: EvaluationSettings
) -> tuple[list[PathPoint], bool]:
    """Measure a ray, closer and closer around its lowest point.

    Args:
        measure: Measures points at increasing t.
        settings: When to rest: after some rounds that moved the decrease by less than 2 %.

    Returns:
        All points in increasing t, and whether the refinement came to rest before the ray's end.
    """
    points, quiet = measure(LENGTHS), 0
    for _ in range(settings.max_refinements):
        before = _lowest(points)
        ts = [point.t for point in points]
        beside = [pair for pair in itertools.pairwise(ts) if before.t in pair]
        added = measure([(low + high) / 2 for low, high in beside])
        points = sorted([*points, *added], key=lambda point: point.t)
        moved = before.train.loss - _lowest(points).train.loss
        decrease = points[0].train.loss - _lowest(points).train.loss
        quiet = quiet + 1 if moved <= _REST * decrease else 0
        if quiet == settings.quiet_rounds:
            return points, _lowest(points).t < 1
    return points, False


def _lowest(points: Sequence[PathPoint]) -> PathPoint:
    return min(points, key=lambda point: point.train.loss)


def measured_gradient(
    network: nn.Module,
    state: Mapping[str, Tensor],
    data: ImageDataModule,
    evaluation: EvaluationSettings,
    device: torch.device,
) -> dict[str, Tensor]:
    """Differentiate the loss of the training subset as it is measured along a path.

    Recalibrated statistics are functions of the weights, and are differentiated like them: of what
    a step changes in a layer's mean and scale, batch norm takes most back. Those of instance norm,
    and all under a policy that keeps those of the end, are constants. In double precision, on a
    copy.

    Args:
        network: The architecture; its values are not read.
        state: Weights and buffers at which the gradient is taken.
        data: Whose training subset, and whose images of recalibration.
        evaluation: Policy and sizes of the statistics.
        device: Where to compute; ranks share the batches.

    Returns:
        Gradients of the prunable weights by name, on the CPU, the same on every rank.

    Raises:
        UserError: If every batch is measured with statistics of its own.
    """
    if evaluation.batch_norm == "batch":
        raise UserError(
            "evaluation.batch_norm=batch: a ray needs statistics that belong to a point; choose "
            "recalibrated"
        )
    twin = copy.deepcopy(network)
    twin.load_state_dict(state)
    twin.double().to(device).eval()
    weights = prunable_weights(twin)
    if evaluation.batch_norm not in {"recalibrated", "recalibrated_plain"}:
        found, _ = _at_statistics(twin, weights, data, {})
        return {name: gradient.cpu() for name, gradient in found.items()}
    batches = data.recalibration_batches(
        evaluation.num_recalibration_images,
        evaluation.recalibration_batch_size,
        augmented=evaluation.batch_norm == "recalibrated",
        shared=True,
    )
    images = [batch.double().to(device) for batch, _ in batches]
    recalibrate_(twin, images)
    average_over_ranks_(dict(twin.named_buffers()), twin)
    statistics = {
        name: (module.running_mean.clone(), module.running_var.clone())
        for name, module in _differentiable(twin).items()
        if module.running_mean is not None and module.running_var is not None
    }
    found, slopes = _at_statistics(twin, weights, data, statistics)
    found = _with_statistics(twin, weights, images, found, slopes)
    return {name: gradient.cpu() for name, gradient in found.items()}


def _with_statistics(
    twin: nn.Module,
    weights: Weights,
    images: Sequence[Tensor],
    found: Mapping[str, Tensor],
    slopes: Statistics,
) -> dict[str, Tensor]:
    """Add what goes through the statistics of this rank's batches of images, and of the others'."""
    device = next(iter(weights.values())).device
    number = sum_over_ranks(torch.tensor(len(images), device=device))
    if not is_first_rank():
        # Every rank has the whole of what does not go through statistics: it counts once.
        found = {name: torch.zeros_like(gradient) for name, gradient in found.items()}
    for batch in images:
        moved = _through_statistics(twin, weights, batch, slopes)
        found = {name: found[name] + moved[name] / number for name in found}
    return {name: sum_over_ranks(gradient) for name, gradient in found.items()}


def _differentiable(network: nn.Module) -> dict[str, _BatchNorm]:
    found = batch_norms(network).items()
    return {name: module for name, module in found if isinstance(module, _BatchNorm)}


def _at_statistics(
    twin: nn.Module, weights: Weights, data: ImageDataModule, statistics: Statistics
) -> tuple[dict[str, Tensor], Statistics]:
    """Differentiate the mean loss by the weights, and by the statistics that are held fixed."""
    device = next(iter(weights.values())).device
    leaves = {
        name: (mean.requires_grad_(), variance.requires_grad_())
        for name, (mean, variance) in statistics.items()
    }
    asked = [*weights.values(), *itertools.chain.from_iterable(leaves.values())]
    totals = [torch.zeros_like(tensor) for tensor in asked]
    count = 0
    with _Normalised(twin, given=leaves):
        for images, labels in data.train_subset_batches():
            logits = twin(images.double().to(device))
            loss = functional.cross_entropy(logits, labels.to(device), reduction="sum")
            for total, part in zip(totals, torch.autograd.grad(loss, asked), strict=True):
                total.add_(part)
            count += len(labels)
    everyone = sum_over_ranks(torch.tensor(count, device=device))
    means = iter([sum_over_ranks(total) / everyone for total in totals])
    found = {name: next(means) for name in weights}
    return found, {name: (next(means), next(means)) for name in leaves}


def _through_statistics(
    twin: nn.Module, weights: Weights, images: Tensor, slopes: Statistics
) -> dict[str, Tensor]:
    """Carry slopes by the statistics of one batch back to the weights."""
    if not slopes:
        return {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with _Normalised(twin) as normalised:
        twin(images)
    seen = itertools.chain.from_iterable(normalised.seen[name] for name in slopes)
    pairs = zip(seen, itertools.chain.from_iterable(slopes.values()), strict=True)
    # The statistics of the images themselves hang on no weight.
    moving = [(statistic, slope) for statistic, slope in pairs if statistic.requires_grad]
    gradients = torch.autograd.grad(
        [statistic for statistic, _ in moving],
        list(weights.values()),
        [slope for _, slope in moving],
        materialize_grads=True,
        allow_unused=True,
    )
    return dict(zip(weights, gradients, strict=True))


class _Normalised:
    """Has batch norms normalise by statistics that torch can differentiate.

    Torch takes running statistics for constants.

    Args:
        network: In evaluation mode.
        given: Mean and variance of each; None for those of the batch, which are kept in ``seen``.
    """

    def __init__(self, network: nn.Module, given: Statistics | None = None) -> None:
        self._modules, self._given = _differentiable(network), given
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> "_Normalised":
        # A hook that returns something replaces the output.
        self._handles = [
            module.register_forward_hook(self._hook(name)) for name, module in self._chosen()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _chosen(self) -> Iterator[tuple[str, _BatchNorm]]:
        for name, module in self._modules.items():
            if self._given is None or name in self._given:
                yield name, module

    def _hook(self, name: str) -> Callable[[Any, Any, Any], Tensor]:
        def hook(module: _BatchNorm, inputs: tuple[Tensor], _: Tensor) -> Tensor:
            (values,) = inputs
            axes = [0, *range(2, values.dim())]
            if self._given is None:
                mean, variance = values.mean(axes), values.var(axes, unbiased=False)
                # What is kept is unbiased, what is divided by is not, as in torch.
                self.seen[name] = (mean, values.var(axes))
            else:
                mean, variance = self._given[name]
            return _affine(module, values, mean, variance)

        return hook


def _affine(module: _BatchNorm, values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    shape = [1, -1, *[1] * (values.dim() - 2)]
    scale = (variance + module.eps).rsqrt()
    scale = scale if module.weight is None else scale * module.weight
    shifted = (values - mean.view(shape)) * scale.view(shape)
    return shifted if module.bias is None else shifted + module.bias.view(shape)


def _norm(tensors: Weights) -> float:
    return math.sqrt(math.fsum(float(tensor.square().sum()) for tensor in tensors.values()))
