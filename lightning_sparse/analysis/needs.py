"""What claims name: the paths and end points that an experiment makes and a report shows."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.points import Point, parse_point

_SPACES = ("line", "sparse", "dense")
_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class Needed:
    """Paths and end points that are looked at together.

    Attributes:
        routes: Kinds of path.
        points: Ends of runs that are compared as they are; made at every sparsity of an experiment.
        at: Nominal sparsity of the paths: ``headline``, or ``control``, a lower one that leaves
            more room inside the mask.
        seeds: ``all`` report seeds, or ``search``: the first ones, with multiples of the steps.
        decides: Whether a verdict rests on it; False for what stands beside for comparison.
    """

    routes: tuple[Route, ...] = ()
    points: tuple[str, ...] = ()
    at: Literal["headline", "control"] = "headline"
    seeds: Literal["all", "search"] = "all"
    decides: bool = True

    @property
    def is_in_every_seed(self) -> bool:
        """Whether its paths belong to the experiment proper: the headline, and all seeds."""
        return (self.at, self.seeds) == ("headline", "all")

    def by_name(self) -> "Needed":
        """Return the same with its routes by the names of their ends, as tables have them."""
        return replace(
            self, routes=tuple(sorted(self.routes, key=lambda route: (route.start, route.end)))
        )


class Arms(NamedTuple):
    """Which arms must be trained, each in the order of first mention.

    Attributes:
        dense: Without a mask, hence without a sparsity.
        compared: Masked ones that are compared at every sparsity.
        joined: Masked ones that are only ends of paths.
    """

    dense: tuple[str, ...]
    compared: tuple[str, ...]
    joined: tuple[str, ...]


def arms_of(
    needs: Sequence[Needed],
    unmasked: Collection[str],
    at: Literal["headline", "control"] = "headline",
) -> Arms:
    """Return the arms that points and paths at one sparsity belong to.

    Args:
        needs: The points and paths.
        unmasked: Arms without masks.
        at: The sparsity.

    Example:
        >>> needs = [Needed(points=("prune:end",)), Needed(routes=(Route("x:start", "dense:end"),))]
        >>> arms_of(needs, {"dense"})
        Arms(dense=('dense',), compared=('prune',), joined=('x',))
    """
    points = [parse_point(point) for needed in needs for point in needed.points]
    of_paths = {needed.at: list[Point]() for needed in needs}
    for needed in needs:
        of_paths[needed.at] += map(
            parse_point, (end for route in needed.routes for end in route[:2])
        )
    compared = {point.run for point in points if at == "headline"}
    asked = compared | {point.run for point in of_paths.get(at, ())}
    everywhere = dict.fromkeys([*points, *(end for ends in of_paths.values() for end in ends)])
    runs = _once(point.run for point in everywhere if point.run in asked)
    masked = [run for run in runs if run not in unmasked]
    return Arms(
        dense=tuple(run for run in runs if run in unmasked),
        compared=tuple(run for run in masked if run in compared),
        joined=tuple(run for run in masked if run not in compared),
    )


def ordered(needs: Iterable[Needed]) -> list[Route]:
    """Return all routes once: by their ends as first mentioned, the line first, then its curves.

    Example:
        >>> ends = ("scratch:end", "prune:end")
        >>> curve, line = Route(*ends, "quadratic curve", "dense"), Route(*ends)
        >>> ordered([Needed(routes=(curve,)), Needed(routes=(line,))]) == [line, curve]
        True
    """
    routes = _once(route for needed in needs for route in needed.routes)
    ends = _once((route.start, route.end) for route in routes)
    curves = _once(route.curve for route in routes)
    return sorted(
        routes,
        key=lambda route: (
            ends.index((route.start, route.end)),
            route.is_fitted,
            curves.index(route.curve),
            _SPACES.index(route.space),
        ),
    )


def joined(needs: Iterable[Needed]) -> Iterator[tuple[tuple[str, str], list[Route]]]:
    """Group the routes by the two points that they join, in the order of `ordered`."""
    routes = ordered(needs)
    for ends in _once((route.start, route.end) for route in routes):
        yield ends, [route for route in routes if (route.start, route.end) == ends]


def _once(items: Iterable[_Item]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(items))
