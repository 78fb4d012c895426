"""Weights that the network computes with, as a function of those that are trained."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.masks import Masks, Weights, full_masks
from lightning_sparse.sparsity.view import SparseView

_LARGER, _LAST = "larger", "last_gradients"
_LIMITS, _PULLS, _VELOCITIES = "limits", "pulls", "velocities"


class AbstractReparameterisation(ABC):
    """What the forward pass sees of the trained weights, and how its gradients come back to them.

    The network's parameters hold what the forward pass sees at all times but for the moment of the
    optimizer's step, for which they hold the trained weights: state dicts, measurements and exports
    are plain. In every view that is handed in here, ``weights`` are the trained ones.
    """

    def trained(self, weights: Weights) -> dict[str, Tensor]:
        """Give the trained weights that the start weights stand for: by default equal ones."""
        return {name: weight.detach().clone() for name, weight in weights.items()}

    def seen(self, view: SparseView) -> Weights:
        """Give what the forward pass computes with: by default the trained weights inside masks.

        Exactly zero outside ``view.masks``, when training ends at the latest.
        """
        return {name: weight * view.masks[name] for name, weight in view.weights.items()}

    @abstractmethod
    def gradients(self, view: SparseView) -> Weights:
        """Give the gradients of the trained weights; ``view.gradients`` are of what was seen."""

    def moving(self, view: SparseView) -> Masks:
        """Say which trained weights a step moves; gradients and momentum of others are zero."""
        return view.masks


@final
@dataclass(frozen=True, kw_only=True)
class Power(AbstractReparameterisation):
    """A weight is v |v|^(exponent - 1) of a trained v: large ones move more, small ones less.

    Schwarz et al. 2021 (https://arxiv.org/abs/2110.00296).

    Attributes:
        exponent: At least 1, where it changes nothing.

    Example:
        >>> import torch
        >>> view = SparseView.at_start({"a": torch.tensor([0.5])})
        >>> Power(exponent=3.0).seen(view)
        {'a': tensor([0.1250])}
    """

    exponent: float

    def __post_init__(self) -> None:
        """Check the field."""
        if not self.exponent >= 1:
            raise UserError(f"exponent={self.exponent!r}: must be a number of at least 1")

    def trained(self, weights: Weights) -> dict[str, Tensor]:
        """Take roots, so that the network begins as it was."""
        return {
            name: weight.detach().sign() * weight.detach().abs().pow(1 / self.exponent)
            for name, weight in weights.items()
        }

    def seen(self, view: SparseView) -> Weights:
        """Take powers inside the masks."""
        return {
            name: v * v.abs().pow(self.exponent - 1) * view.masks[name]
            for name, v in view.weights.items()
        }

    def gradients(self, view: SparseView) -> Weights:
        """Multiply by exponent |v|^(exponent - 1) inside the masks."""
        gradients = view.gradients()
        return {
            name: gradients[name]
            * self.exponent
            * v.abs().pow(self.exponent - 1)
            * view.masks[name]
            for name, v in view.weights.items()
        }


@final
@dataclass(frozen=True, kw_only=True)
class LargerSet(AbstractReparameterisation):
    """Seen inside the masks, trained in a set around them, which lies in the method's state.

    Attributes:
        density: Share of weights that is seen, in (0, 1].
        penalty: Decay of what is seen; others that are trained decay 1 / ``density`` times as fast.
    """

    density: float
    penalty: float

    def gradients(self, view: SparseView) -> Weights:
        """Pass gradients on as they are, and add those of the penalty."""
        gradients = view.gradients()
        return {
            name: gradients[name]
            + self.penalty * torch.where(view.masks[name], weight, weight / self.density)
            for name, weight in view.weights.items()
        }

    def moving(self, view: SparseView) -> Masks:
        """Move the larger set."""
        masks: Masks = view.state[_LARGER]
        return masks

    @staticmethod
    def remember(view: SparseView, masks: Masks) -> None:
        """Keep the larger set for later steps."""
        view.state[_LARGER] = dict(masks)


@final
@dataclass(frozen=True, kw_only=True)
class Refined(AbstractReparameterisation):
    """Seen inside the masks, trained everywhere: sparse-refined straight-through gradients.

    Attributes:
        decay: Times each weight outside the masks, added to its gradient.
    """

    decay: float

    def gradients(self, view: SparseView) -> Weights:
        """Pass gradients on as they are, and let what is not seen decay."""
        gradients = view.gradients()
        return {
            name: gradients[name] + self.decay * weight.masked_fill(view.masks[name], 0)
            for name, weight in view.weights.items()
        }

    def moving(self, view: SparseView) -> Masks:
        """Move everything."""
        return full_masks(view.weights)


@final
@dataclass(frozen=True, kw_only=True)
class Perturbed(AbstractReparameterisation):
    """Seen a step uphill of where they are, along the last step's gradient; itself at the end.

    Attributes:
        radius: Length of that step, over all prunable weights together.
        masked: Whether it stays inside the masks.
        num_steps: Optimizer steps of training, after which the weights are seen as they are.
    """

    radius: float
    masked: bool
    num_steps: int

    def seen(self, view: SparseView) -> Weights:
        """Go uphill, if there was a gradient and a batch follows."""
        weights = super().seen(view)
        gradients = view.state.get(_LAST)
        if gradients is None or view.step >= self.num_steps:
            return weights
        if self.masked:
            gradients = {name: gradients[name] * view.masks[name] for name in weights}
        squares = [gradients[name].double().square().sum() for name in weights]
        norm = torch.stack(squares).sum().sqrt()
        scale = torch.where(norm > 0, self.radius / norm, 0.0)
        return {name: w + (scale * gradients[name]).to(w.dtype) for name, w in weights.items()}

    def gradients(self, view: SparseView) -> Weights:
        """Pass gradients on, and remember them as they are before masking."""
        gradients = view.gradients()
        view.state[_LAST] = dict(gradients)
        return gradients


@final
@dataclass(frozen=True, kw_only=True)
class SoftThreshold(AbstractReparameterisation):
    """A weight is sign(w) max(|w| - sigmoid(s), 0) of a trained w, with one s for each layer.

    The s of all layers lie in the method's state, beside what the last gradient says of them.
    """

    def seen(self, view: SparseView) -> Weights:
        """Take off what lies below the threshold, and the threshold from the rest."""
        limits = {name: limit.sigmoid() for name, limit in view.state[_LIMITS].items()}
        return {
            name: w.detach().sign() * (w.detach().abs() - limits[name]).clamp(min=0)
            for name, w in view.weights.items()
        }

    def gradients(self, view: SparseView) -> Weights:
        """Pass gradients on inside the masks, and keep what they say of the thresholds."""
        gradients = {n: gradient * view.masks[n] for n, gradient in view.gradients().items()}
        for name, weight in view.weights.items():
            limit = view.state[_LIMITS][name].sigmoid()
            pull = (gradients[name] * weight.detach().sign()).sum()
            view.state[_PULLS][name] = -limit * (1 - limit) * pull
        return gradients

    def moving(self, view: SparseView) -> Masks:
        """Move everything: outside the masks weights decay."""
        return full_masks(view.weights)

    def begin(self, view: SparseView, initial: float) -> None:
        """Start all s at one value, and their momentum at zero."""
        for name in (_LIMITS, _PULLS, _VELOCITIES):
            value = initial if name == _LIMITS else 0.0
            view.state[name] = {n: w.new_tensor(value) for n, w in view.weights.items()}

    def step_limits(
        self, view: SparseView, rates: Mapping[str, float], *, decay: float, momentum: float
    ) -> None:
        """Step every s by gradient descent with momentum and a decay of its own."""
        limits, velocities = view.state[_LIMITS], view.state[_VELOCITIES]
        for name, pull in view.state[_PULLS].items():
            velocities[name] = momentum * velocities[name] + pull + decay * limits[name]
            limits[name] = limits[name] - rates[name] * velocities[name]
