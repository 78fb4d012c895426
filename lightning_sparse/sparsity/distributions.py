"""How much to remove per layer, from the layers' shapes alone.

Every distribution maps ordered layer shapes and an asked-for sparsity to one target sparsity per
layer, in [0, 1]. What that makes overall is counted from the masks, never assumed.
"""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import final

from lightning_sparse.errors import UserError
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

        Raises:
            UserError: If the rule cannot be followed on these layers.
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
        for name, cap in (("first_layer", self.first_layer), ("last_layer", self.last_layer)):
            if cap is not None:
                check_sparsity(name, cap)

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


_NOMINAL_TOLERANCE = 5e-4
"""How far a nominal sparsity, typed rounded, may lie from what layers given by hand come to."""


@final
@dataclass(frozen=True, kw_only=True)
class ByLayer(AbstractDistribution):
    """The sparsity of each layer by hand: patterns over the weights' names.

    Of several patterns that match a name, the one with the most characters besides wildcards
    decides, wherever it stands. The asked-for sparsity shares nothing out: it must be what the
    layers come to overall, within 0.0005, since it is what records and schedules call the run's
    sparsity.

    Attributes:
        layers: Sparsity, a fraction in [0, 1), by a pattern in which ``*`` stands for any
            characters and ``?`` for one; each must match a weight.
        otherwise: Sparsity of the weights that no pattern matches, likewise; None: there must be
            none.

    Example:
        >>> shapes = {"conv1.weight": (8, 1), "conv2.weight": (8, 8), "fc.weight": (2, 4)}
        >>> ByLayer(layers={"conv*": 0.75, "conv1.*": 0.0}, otherwise=0.5).layer_sparsities(
        ...     shapes, 0.65
        ... )
        {'conv1.weight': 0.0, 'conv2.weight': 0.75, 'fc.weight': 0.5}
    """

    layers: Mapping[str, float] = field(default_factory=dict)
    otherwise: float | None = None

    def __post_init__(self) -> None:
        """Check the fractions."""
        if not self.layers:
            raise UserError(
                "distribution.layers is empty: name patterns and sparsities, for example "
                "'+distribution.layers={conv*:0.9,fc.weight:0.5}'"
            )
        for pattern, sparsity in self.layers.items():
            check_sparsity(f"distribution.layers.{pattern}", sparsity)
        if self.otherwise is not None:
            check_sparsity("distribution.otherwise", self.otherwise)

    def layer_sparsities(self, shapes: Shapes, sparsity: float) -> dict[str, float]:
        """Look up every layer.

        Raises:
            UserError: If a pattern matches nothing, a layer has no sparsity or two, or ``sparsity``
                is not what the layers come to.
        """
        for pattern in self.layers:
            if not any(fnmatchcase(name, pattern) for name in shapes):
                raise UserError(
                    f"distribution.layers: {pattern!r} matches no weight; there "
                    f"{_some(difflib.get_close_matches(pattern, shapes, cutoff=0.3) or shapes)}"
                )
        sparsities = {name: self._of(name) for name in shapes}
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        overall = sum(sparsities[name] * sizes[name] for name in shapes) / sum(sizes.values())
        if abs(overall - sparsity) > _NOMINAL_TOLERANCE:
            raise UserError(
                f"sparsity={sparsity:g}: the layers of distribution.layers come to {overall:.4f} "
                f"overall, which is what this run is to be called by; say sparsity={overall:.4f}"
            )
        return sparsities

    def _of(self, name: str) -> float:
        matching = [pattern for pattern in self.layers if fnmatchcase(name, pattern)]
        most = max(map(_num_literal, matching), default=0)
        best = [pattern for pattern in matching if _num_literal(pattern) == most]
        values = {self.layers[pattern] for pattern in best}
        if len(values) > 1:
            raise UserError(
                f"distribution.layers: {best[0]!r} and {best[1]!r} say different things of "
                f"{name!r}, and neither is more specific; add {name!r} itself"
            )
        if values:
            return values.pop()
        if self.otherwise is None:
            raise UserError(
                f"distribution.layers: no pattern matches {name!r}; add one, or say "
                "distribution.otherwise=0.9 for all such weights"
            )
        return self.otherwise


def _num_literal(pattern: str) -> int:
    return sum(character not in "*?" for character in pattern)


def _some(names: Iterable[str]) -> str:
    """Say what is there, at most a handful."""
    first, *rest = list(names)
    more = len(rest) - 4
    shown = ", ".join([first, *rest[:4]])
    return f"{'are' if rest else 'is'} {shown}{f' and {more} more' if more > 0 else ''}"


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
