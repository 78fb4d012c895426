"""Where weights grow: scores of the places that are empty; the highest are taken."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.masks import Weights
from lightning_sparse.sparsity.view import SparseView


class AbstractGrowth(ABC):
    """A rule for where a method that removes weights grows others.

    Attributes:
        needs_gradients: Whether it reads the gradients of the step.
    """

    needs_gradients: bool = False

    @abstractmethod
    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Yield name and scores of every layer, in its order and on the device of the weights.

        Floating-point numbers, none of them NaN; only those of empty places are looked at.
        """


@final
@dataclass(frozen=True, kw_only=True)
class AtRandom(AbstractGrowth):
    """Anywhere, each place as likely as another: SET (Mocanu et al. 2018)."""

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Draw them from the step's place in the ``mask`` stream."""
        for name, weight in view.weights.items():
            yield name, torch.rand(weight.shape, generator=view.generator).to(weight.device)


@final
@dataclass(frozen=True, kw_only=True)
class LargestGradient(AbstractGrowth):
    """Where the dense gradient is largest: RigL (Evci et al. 2020)."""

    needs_gradients = True

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Take magnitudes of the gradients before masking."""
        gradients = _gradients(view).items()
        return ((name, gradient.abs()) for name, gradient in gradients)


@final
@dataclass(frozen=True, kw_only=True)
class SmallestGradient(AbstractGrowth):
    """Where the dense gradient is smallest: the control that RigL's authors call inverted.

    If it does as well as `LargestGradient`, the gradient says nothing about where to grow.
    """

    needs_gradients = True

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Negate the magnitudes of the gradients before masking."""
        gradients = _gradients(view).items()
        return ((name, -gradient.abs()) for name, gradient in gradients)


def _gradients(view: SparseView) -> Weights:
    """Take them, unless they say nothing.

    Raises:
        UserError: If all of them are zero.
    """
    gradients = view.gradients()
    if not bool(torch.stack([gradient.any() for gradient in gradients.values()]).any()):
        raise UserError(
            f"step {view.step}: every gradient is zero, so none says where weights grow; the "
            "network has stopped learning: lower the learning rate or sparsity"
        )
    return gradients
