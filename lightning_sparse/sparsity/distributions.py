"""How much to remove per layer, from the layers' shapes alone.

Every distribution maps ordered layer shapes and an asked-for sparsity to one target sparsity per
layer, in [0, 1]. What that makes overall is counted from the masks, never assumed.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from lightning_sparse.sparsity.checks import check_sparsity

Shapes = Mapping[str, Sequence[int]]


class AbstractDistribution(ABC):
    """A rule for the target sparsity of each layer."""

    @abstractmethod
    def layer_sparsities(self, shapes: Shapes, sparsity: float) -> dict[str, float]:
        """Share out ``sparsity`` over the layers.

        Args:
            shapes: Weight shapes by name, first layer first; output axis, input axis, kernel axes.
            sparsity: Asked-for sparsity, a fraction in [0, 1).

        Returns:
            Target sparsity of each layer, in the order of ``shapes``.
        """


@final
@dataclass(frozen=True, kw_only=True)
class Uniform(AbstractDistribution):
    """Every layer at the asked-for sparsity, the first and last at most at a cap of their own.

    Three policies of the literature: ``Uniform()`` is Gale et al. 2019, every layer alike;
    ``Uniform(first_layer=0.0)`` is RigL (Evci et al. 2020), first layer dense;
    ``Uniform(first_layer=0.0, last_layer=0.8)`` is Gale et al., extended. With a cap the overall
    sparsity falls short of the asked-for one, and nothing makes up for it.

    Attributes:
        first_layer: Most the first layer may lose, a fraction in [0, 1); None: like the others.
        last_layer: Most the last layer may lose, likewise.

    Example:
        >>> shapes = {"first": (4, 1, 3, 3), "middle": (8, 4, 3, 3), "last": (10, 8)}
        >>> Uniform(first_layer=0.0, last_layer=0.8).layer_sparsities(shapes, 0.9)
        {'first': 0.0, 'middle': 0.9, 'last': 0.8}
    """

    first_layer: float | None = None
    last_layer: float | None = None

    def __post_init__(self) -> None:
        """Check the caps."""
        for field, cap in (("first_layer", self.first_layer), ("last_layer", self.last_layer)):
            if cap is not None:
                check_sparsity(field, cap)

    def layer_sparsities(self, shapes: Shapes, sparsity: float) -> dict[str, float]:
        """Give every layer ``sparsity``, then apply the caps."""
        sparsities = dict.fromkeys(shapes, sparsity)
        names = list(shapes)
        for name, cap in ((names[0], self.first_layer), (names[-1], self.last_layer)):
            if cap is not None:
                sparsities[name] = min(sparsities[name], cap)
        return sparsities


@final
@dataclass(frozen=True, kw_only=True)
class ErdosRenyi(AbstractDistribution):
    """Density proportional to (inputs + outputs) / (inputs * outputs), at most 1.

    Mocanu et al. 2018; kernel axes do not count (`ErdosRenyiKernel` counts them). Layers for which
    the rule asks more than everything stay dense and the others share the rest, so the overall
    sparsity is the asked-for one up to rounding per layer.

    Example:
        >>> ErdosRenyi().layer_sparsities({"a": (10, 10), "b": (20, 20)}, 0.8)
        {'a': 0.6666666666666667, 'b': 0.8333333333333334}
    """

    def layer_sparsities(self, shapes: Shapes, sparsity: float) -> dict[str, float]:
        """Solve for the one scale that gives ``sparsity`` overall."""
        densities = {name: sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()}
        return _scaled_sparsities(densities, shapes, sparsity)


@final
@dataclass(frozen=True, kw_only=True)
class ErdosRenyiKernel(AbstractDistribution):
    """Density proportional to the sum over the product of all axes, at most 1 (ERK).

    Evci et al. 2020, section 3, every layer included; linear layers come out as in `ErdosRenyi`.
    """

    def layer_sparsities(self, shapes: Shapes, sparsity: float) -> dict[str, float]:
        """Solve for the one scale that gives ``sparsity`` overall."""
        densities = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
        return _scaled_sparsities(densities, shapes, sparsity)


def _scaled_sparsities(
    densities: Mapping[str, float], shapes: Shapes, sparsity: float
) -> dict[str, float]:
    """Scale relative densities to the overall one; layers that would exceed 1 become dense.

    A layer made dense gives back what it asked beyond 1, so the scale of the others only grows and
    no layer, once dense, would come back.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    budget = (1 - sparsity) * sum(sizes.values())
    free = dict(densities)
    scale = math.inf
    while free:
        scale = budget / sum(density * sizes[name] for name, density in free.items())
        saturated = [name for name, density in free.items() if scale * density >= 1]
        if not saturated:
            break
        for name in saturated:
            del free[name]
            budget -= sizes[name]
    return {name: 1 - scale * free[name] if name in free else 0.0 for name in shapes}
