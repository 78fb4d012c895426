"""What shape a path has: a curve is a value. No torch in here, so that planning a path is quick.

A curve has ``num_points`` control points; the first and the last are its ends, and what lies
between them is fitted. Its point at t is their mean, weighted by ``basis(t)``: a new curve is a new
basis. Tensors come in `lightning_sparse.paths.geometry`.
"""

import abc
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from lightning_sparse.errors import UserError
from lightning_sparse.records import STRAIGHT_LINE, curve_of_degree, is_plain_name

_NUM_ENDS = 2

# Of what can be fitted: below it is the line.
_LOWEST_DEGREE = 2

_ROUNDING = 1e-9

# Of a fit, in which bends may be re-inserted; then they settle.
_MOVING = 0.75

# Points that a path is measured at: a peak of a fifth of a piece is not to lie between two.
_PER_PIECE = 8

# Even, so that half as many are a grid too; per control point, so that bends lie on both.
_INTERVALS = 240


class AbstractCurve(abc.ABC):
    """A curve through weight space, as a function of its control points.

    A subclass is a frozen dataclass whose fields are the arguments in ``conf/curve/``.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Words for records, ids and legends: ``quadratic curve``; another one for another shape.

        Two curves that differ in a field have different names.
        """

    @property
    @abc.abstractmethod
    def num_points(self) -> int:
        """Number of control points, both ends included: at least 2."""

    @abc.abstractmethod
    def basis(self, t: float) -> Sequence[float]:
        """Weights of all control points at ``t``, from the end at t = 0 to the one at t = 1.

        They sum to 1 for every t. At t = 0 the first is 1 and all others are 0, and at t = 1 the
        last. Outside [0, 1] they extrapolate.
        """

    @property
    def is_fitted(self) -> bool:
        """Whether there are control points between the ends, which are to be trained."""
        return self.num_points > _NUM_ENDS

    def reinserts_at(self, num_steps: int) -> Sequence[int]:
        """Steps of a fit before which a bend may move to where the loss is highest; none mostly."""
        return ()

    @property
    def measured_at(self) -> Sequence[float]:
        """Points in [0, 1] that such a path is measured at besides the grid; none mostly."""
        return ()

    @property
    def places(self) -> Sequence[float]:
        """Where control points lie on the straight line before a fit: evenly, from 0 to 1."""
        return [k / (self.num_points - 1) for k in range(self.num_points)]

    def length(self, gram: Sequence[Sequence[float]]) -> float:
        """Length over t in [0, 1] in weight space, from chords extrapolated to none (Richardson).

        The weights are touched once, for ``gram``, however many chords there are. Straight pieces
        between multiples of ``1 / (num_points - 1)`` are exact.

        Args:
            gram: Inner products of the differences between neighbouring control points, a square
                of ``num_points - 1`` rows.

        Example:
            >>> round(Line().length([[25.0]]), 9)
            5.0
        """
        finest = _INTERVALS * (self.num_points - 1)
        fine, coarse = (
            math.fsum(self._chords(gram, num_chords)) for num_chords in (finest, finest // 2)
        )
        return (4 * fine - coarse) / 3

    def _chords(self, gram: Sequence[Sequence[float]], num_chords: int) -> Sequence[float]:
        places = [self._reached(k / num_chords) for k in range(num_chords + 1)]
        steps = [
            [there - here for here, there in zip(*pair, strict=True)]
            for pair in itertools.pairwise(places)
        ]
        return [math.sqrt(max(0.0, _squared_norm(step, gram))) for step in steps]

    def _reached(self, t: float) -> Sequence[float]:
        """How much of each difference between neighbouring control points lies before ``t``."""
        return [*itertools.accumulate(reversed(self.basis(t)[1:]))][::-1]


def _squared_norm(step: Sequence[float], gram: Sequence[Sequence[float]]) -> float:
    return math.fsum(
        a * b * product
        for a, row in zip(step, gram, strict=True)
        for b, product in zip(step, row, strict=True)
    )


@final
@dataclass(frozen=True)
class Line(AbstractCurve):
    """The straight line between two ends; there is nothing to fit."""

    @property
    def name(self) -> str:
        """The name of a line."""
        return STRAIGHT_LINE

    @property
    def num_points(self) -> int:
        """The ends."""
        return 2

    def basis(self, t: float) -> Sequence[float]:
        """``(1 - t, t)``."""
        return (1 - t, t)


@final
@dataclass(frozen=True)
class Bezier(AbstractCurve):
    """A Bezier curve; its basis is that of Bernstein.

    Args:
        degree: 2 quadratic, 3 cubic, and above; there are ``degree - 1`` points to fit.
    """

    degree: int

    def __post_init__(self) -> None:
        """Refuse what has nothing to fit.

        Raises:
            UserError: If the degree is below 2.
        """
        if self.degree < _LOWEST_DEGREE:
            raise UserError(
                f"curve.degree={self.degree}: a curve to be fitted has degree 2 or more; the "
                "straight line is curve=line"
            )

    @property
    def name(self) -> str:
        """Named by its degree.

        Example:
            >>> Bezier(2).name, Bezier(4).name
            ('quadratic curve', 'curve of degree 4')
        """
        return curve_of_degree(self.degree)

    @property
    def num_points(self) -> int:
        """One more than the degree."""
        return self.degree + 1

    def basis(self, t: float) -> Sequence[float]:
        """The k-th entry is ``comb(n, k) t^k (1 - t)^(n - k)``.

        Example:
            >>> Bezier(2).basis(0.5)
            [0.25, 0.5, 0.25]
        """
        n = self.degree
        return [math.comb(n, k) * t**k * (1 - t) ** (n - k) for k in range(n + 1)]


@final
@dataclass(frozen=True)
class PolygonalChain(AbstractCurve):
    """Straight pieces from bend to bend, each over an equal part of t (Garipov et al. 2018).

    As ``PolyChain`` of dnn-mode-connectivity, whose ``num_bends`` counts the ends too. Deviation:
    outside [0, 1] the first and the last piece go on, where PolyChain goes to zero.

    Args:
        bends: Number of bends between the ends, at least 1: the points to fit.
        reinsertions: How often in a fit a bend may be taken out and inserted where the loss between
            two is highest (`lightning_sparse.paths.reinsertion`).
    """

    bends: int
    reinsertions: int = 0

    def __post_init__(self) -> None:
        """Refuse what has nothing to fit.

        Raises:
            UserError: If there is no bend, or there are fewer re-insertions than none.
        """
        if self.reinsertions < 0:
            raise UserError(f"curve.reinsertions={self.reinsertions}: must be at least 0")
        if self.bends < 1:
            raise UserError(
                f"curve.bends={self.bends}: a chain has 1 bend or more; the straight line is "
                "curve=line"
            )

    @property
    def name(self) -> str:
        """Named by its number of bends.

        Example:
            >>> PolygonalChain(1).name, PolygonalChain(3).name
            ('polygonal chain with 1 bend', 'polygonal chain with 3 bends')
            >>> PolygonalChain(5, reinsertions=5).name
            'polygonal chain with 5 bends re-inserted 5 times'
        """
        name = f"polygonal chain with {self.bends} bend{'s' if self.bends > 1 else ''}"
        return f"{name} re-inserted {self.reinsertions} times" if self.reinsertions else name

    def reinserts_at(self, num_steps: int) -> Sequence[int]:
        """Spread the re-insertions evenly over the first three quarters of a fit.

        Example:
            >>> PolygonalChain(5, reinsertions=3).reinserts_at(100)
            [25, 50, 75]
        """
        count = self.reinsertions
        return [round(_MOVING * num_steps * k / count) for k in range(1, count + 1)]

    @property
    def measured_at(self) -> Sequence[float]:
        """Eighths of every piece: along each the loss rises and falls as along a line of its own.

        Example:
            >>> PolygonalChain(1).measured_at[:3], len(PolygonalChain(9).measured_at)
            ([0.0, 0.0625, 0.125], 81)
        """
        count = _PER_PIECE * (self.bends + 1)
        return [round(k / count, 10) for k in range(count + 1)]

    @property
    def num_points(self) -> int:
        """The bends and both ends."""
        return self.bends + 2

    def basis(self, t: float) -> Sequence[float]:
        """Tent functions: 1 at a bend's own t, falling to 0 at those of its neighbours.

        Example:
            >>> PolygonalChain(1).basis(0.25), PolygonalChain(1).basis(0.5)
            ([0.5, 0.5, 0.0], [0.0, 1.0, 0.0])
        """
        place = t * (self.num_points - 1)
        piece = min(max(math.floor(place), 0), self.bends)
        weights = [0.0] * self.num_points
        weights[piece], weights[piece + 1] = piece + 1 - place, place - piece
        return weights


def checked(curve: Any, field: str) -> AbstractCurve:
    """Return a curve that was named by its class, if it keeps what `AbstractCurve` promises.

    Args:
        curve: What the class made.
        field: Where it was named, for messages: ``curve._target_=package.Name``.

    Raises:
        UserError: If it is no curve, or one with loose ends.
    """
    if not isinstance(curve, AbstractCurve):
        raise UserError(
            f"{field}: gave a {type(curve).__name__}; name a subclass of "
            "lightning_sparse.paths.curves.AbstractCurve"
        )
    if not is_plain_name(slug(curve.name)):
        raise UserError(f"{field}: its name {curve.name!r} becomes part of a folder's; use words")
    last = curve.num_points - 1
    if last < 1:
        raise UserError(f"{field}: num_points={curve.num_points}; the two ends are among them")
    for t in (0.0, 1.0, 0.3, -0.2):
        basis = curve.basis(t)
        at_end = {0.0: 0, 1.0: last}.get(t)
        is_there = (
            at_end is None
            or abs(basis[at_end] - 1) + sum(map(abs, basis)) - abs(basis[at_end]) < _ROUNDING
        )
        if len(basis) != last + 1 or not abs(sum(basis) - 1) < _ROUNDING or not is_there:
            raise UserError(
                f"{field}: basis({t:g}) is {list(basis)}; it must be {last + 1} weights that sum "
                "to 1, and at t = 0 and t = 1 those of the ends alone"
            )
    return curve


def slug(name: str) -> str:
    """Write the name of a curve as one word, for ids.

    Example:
        >>> slug(PolygonalChain(2).name)
        'polygonal_chain_with_2_bends'
    """
    return name.replace(" ", "_")


@functools.cache
def _own_curves() -> Mapping[str, type[AbstractCurve]]:
    return {
        f"{known.__module__}.{known.__qualname__}": known
        for known in AbstractCurve.__subclasses__()
        if known.__module__ == __name__
    }


def own_curve(settings: Any) -> AbstractCurve | None:
    """Build a curve of this package that the settings in a record name; None for anything else.

    A record may be a stranger's: no other class is looked for.

    Raises:
        UserError: If it does not take these arguments.
    """
    target = settings.get("_target_") if isinstance(settings, Mapping) else None
    known = _own_curves().get(target) if isinstance(target, str) else None
    if known is None:
        return None
    try:
        return known(**{name: value for name, value in settings.items() if name != "_target_"})
    except TypeError as error:
        raise UserError(f"record.json: config.curve: {error}") from error
