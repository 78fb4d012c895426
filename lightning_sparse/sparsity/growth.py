"""Where weights grow: scores of the places that are empty; the highest are taken."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_sparse.errors import DivergedError
from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.masks import Weights
from lightning_sparse.sparsity.view import SparseView

_AVERAGE = "average"


class AbstractGrowth(ABC):
    """A rule for where a method that removes weights grows others.

    Attributes:
        needs_gradients: Whether it reads the gradients of the step.
        watches: Whether it is to see every step up to the last change, by `watch`.
    """

    needs_gradients: bool = False
    watches: bool = False

    def watch(self, view: SparseView) -> None:  # noqa: B027 (most look at changes alone)
        """Remember of a step what `scores` will ask for, in ``view.state``."""

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


@final
@dataclass(frozen=True, kw_only=True)
class AveragedGradient(AbstractGrowth):
    """Where the running average of dense gradients is largest: SNFS as in RigL's code.

    After each step the average is ``factor`` times itself and 1 - ``factor`` times the gradient,
    from zero on: up to the factor 1 - ``factor`` the momentum of SGD, without weight decay.

    Attributes:
        factor: Share of the past, a fraction in [0, 1).
    """

    factor: float = 0.9
    needs_gradients = True
    watches = True

    def __post_init__(self) -> None:
        """Check the field."""
        check_sparsity("factor", self.factor)

    def watch(self, view: SparseView) -> None:
        """Take the step into the average, which lies in the method's state."""
        averages = view.state.setdefault(_AVERAGE, {})
        for name, gradient in view.gradients().items():
            average = averages.setdefault(name, torch.zeros_like(gradient))
            average.mul_(self.factor).add_(gradient, alpha=1 - self.factor)

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Take magnitudes of the averages."""
        return ((name, average.abs()) for name, average in averages_of(view).items())


def averages_of(view: SparseView) -> Weights:
    """Return what `AveragedGradient` has gathered.

    Raises:
        DivergedError: If all of it is zero.
    """
    return _telling(view.state[_AVERAGE], view.step)


def _gradients(view: SparseView) -> Weights:
    """Take them, unless they say nothing."""
    return _telling(view.gradients(), view.step)


def _telling(gradients: Weights, step: int) -> Weights:
    """Refuse gradients that say nothing.

    Raises:
        DivergedError: If all of them are zero.
    """
    if not bool(torch.stack([gradient.any() for gradient in gradients.values()]).any()):
        raise DivergedError(
            f"step {step}: every gradient is zero, so none says where weights grow; the "
            "network has stopped learning: lower the learning rate or sparsity"
        )
    return gradients
