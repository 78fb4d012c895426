"""A mask and a share of what it leaves out, in an order: subspaces between sparse and dense."""

import copy
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.paths.settings import FreedOrder
from lightning_sparse.sparsity.masks import Masks, Weights, layer_counts, layerwise_masks, union
from lightning_sparse.sparsity.ranking import inside, random_scores
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.streams import stream_generator


@dataclass(frozen=True, kw_only=True)
class Freed:
    """Which coordinates outside a mask control points may use too.

    Attributes:
        share: Of those of each layer, in [0, 1].
        order: ``random``; ``gradient``, the largest of the loss's gradient at the start of the
            path; ``magnitude``, the largest of the weights of ``other``.
        other: State dict that ``magnitude`` looks at, else None.
    """

    share: float
    order: FreedOrder
    other: Mapping[str, Tensor] | None = field(default=None, repr=False)

    def masks(
        self,
        masks: Masks,
        *,
        network: nn.Module,
        state: Mapping[str, Tensor],
        data: ImageDataModule,
        seed: int,
    ) -> Masks:
        """Free the share.

        Args:
            masks: Of the subspace without it.
            network: Of both ends; its values are not read.
            state: State dict of the start of the path.
            data: Its fixed training subset is what a gradient is of.
            seed: Of the ``mask`` stream that a random order is drawn from.

        Raises:
            UserError: If ``magnitude`` has nothing to look at.
        """
        gradients = functools.partial(loss_gradients, network, state, data)
        return with_share(masks, self._scores(masks, gradients, seed), self.share)

    def _scores(self, masks: Masks, gradients: Callable[[], Weights], seed: int) -> Weights:
        """Return what orders the coordinates; gradients are asked for where they do."""
        if self.order == "random":
            weights = {name: mask.float() for name, mask in masks.items()}
            return random_scores(weights, stream_generator(seed, "mask", 0, 2))
        if self.order == "gradient":
            found = gradients()
            return {name: magnitude(found[name]) for name in masks}
        if self.other is None:
            raise UserError("path.freed_order=magnitude: needs the weights of a dense run")
        return {name: magnitude(self.other[name]) for name in masks}


def with_share(masks: Masks, scores: Weights, share: float) -> Masks:
    """Add to a mask the best so many of what each layer leaves out; sets are nested.

    Args:
        masks: What is kept in any case.
        scores: The order: the largest come first, ties by position.
        share: Of the coordinates outside; a layer gets floor(share times their number).

    Example:
        >>> masks = {"a": torch.tensor([True, False, False, False, False])}
        >>> with_share(masks, {"a": torch.tensor([9.0, 1.0, 4.0, 3.0, 2.0])}, 0.5)["a"]
        tensor([ True, False,  True,  True, False])
    """
    # As it is written in decimals: 0.29 of 100 are 29, in binary fractions 28.99...
    exact = Fraction(str(share))
    counts = {
        name: math.floor(exact * (layer.prunable - layer.kept))
        for name, layer in layer_counts(masks).items()
    }
    outside = ((name, inside(scores[name], ~mask)) for name, mask in masks.items())
    return union(masks, layerwise_masks(outside, counts))


def loss_gradients(
    network: nn.Module, state: Mapping[str, Tensor], data: ImageDataModule
) -> dict[str, Tensor]:
    """Differentiate the mean cross-entropy over the fixed training subset, in evaluation mode.

    Args:
        network: The architecture; its values are not read.
        state: Weights and statistics at which the gradient is taken.
        data: Whose training subset.

    Returns:
        Gradients of the prunable weights by name.
    """
    twin = copy.deepcopy(network)
    twin.load_state_dict(state)
    twin.eval()
    weights = prunable_weights(twin)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    count = 0
    for images, labels in data.train_subset_batches():
        loss = functional.cross_entropy(twin(images), labels, reduction="sum")
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for name, gradient in zip(weights, gradients, strict=True):
            total[name] += gradient
        count += len(labels)
    return {name: gradient / count for name, gradient in total.items()}
