"""HAM: after each step of the optimizer a further one that multiplies, around any method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor
from typing_extensions import override

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.around import AbstractAround
from lightning_sparse.sparsity.masks import Weights
from lightning_sparse.sparsity.view import SparseView

_LARGEST = 5.0  # exponent, of either sign, as in the authors' code


@final
@dataclass(frozen=True, kw_only=True)
class HAM(AbstractAround):
    """Multiply each weight w by exp(-rate (alpha sign(w) g + beta)), g being the step's gradient.

    The hyperbolic step of https://arxiv.org/abs/2506.02630 as in the authors' code, on prunable
    weights: it moves large weights more, and none across zero. The exponent is kept within 5 of
    zero. Costs what the method costs.

    Attributes:
        alpha: Of the gradient, at least 0.
        beta: Of the decay, at least 0.
    """

    alpha: float = 200.0
    beta: float = 1e-3
    moves_weights = True

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        for name in ("alpha", "beta"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}={getattr(self, name)!r}: must be a number of at least 0")
        if self.method.reparameterisation() is not None:
            raise UserError(
                f"method={type(self.method).__name__}: trains other weights than the network has, "
                "to which HAM does not belong; choose another method"
            )

    @override
    def moved_weights(self, view: SparseView, rates: Mapping[str, float]) -> Weights:
        gradients = view.gradients()
        return {
            name: weight.detach() * self._exponent(weight, gradients[name], rates[name]).exp()
            for name, weight in view.weights.items()
        }

    def _exponent(self, weight: Tensor, gradient: Tensor, rate: float) -> Tensor:
        exponent = -rate * (self.alpha * weight.detach().sign() * gradient + self.beta)
        return exponent.clamp(-_LARGEST, _LARGEST)
