"""Powerpropagation: gradual magnitude pruning of weights that are powers of trained ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from torch import Tensor

from lightning_sparse.sparsity.gradual import AbstractGradual
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation, Power
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class Powerpropagation(AbstractGradual):
    """Train v, compute with v |v|^(exponent - 1), and prune the smallest along a cubic schedule.

    Schwarz et al. 2021 (https://arxiv.org/abs/2110.00296), whose exponents are 1 to 5, from start
    weights of their usual sizes. A weight and its v rank alike, so it does not matter which is
    pruned. Deviations from the authors' code: they prune once, after training; the density of the
    last layer, there twice that of the others, is the distribution's affair; weight decay acts on
    v. A step costs 3 f_S of a dense forward pass.

    Attributes:
        exponent: At least 1, where this is gradual magnitude pruning.
    """

    exponent: float = 2.0

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        Power(exponent=self.exponent)

    def scores(self, view: SparseView) -> Iterator[tuple[str, Tensor]]:
        """Score by magnitude."""
        return ((name, magnitude(weight)) for name, weight in view.weights.items())

    def reparameterisation(self) -> AbstractReparameterisation:
        """Take powers."""
        return Power(exponent=self.exponent)
