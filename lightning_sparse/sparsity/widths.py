"""Networks of fewer channels: which shapes their weights have, and how many weights that is."""

import itertools
import math
from collections.abc import Iterator, Mapping

from lightning_sparse.sparsity.distributions import Shapes


def nearest_narrow(shapes: Shapes, wanted: int) -> tuple[float, Shapes]:
    """Find the narrower network whose number of weights comes nearest to ``wanted``.

    One multiplier for all widths but those of image and classes, each rounded down or up, equal
    ones alike, at least one channel. Among equally near ones the narrowest.

    Args:
        shapes: Of the weights by name, outputs and inputs first; the first layer has the image's
            channels as inputs, the last one the classes as outputs.
        wanted: Number of weights.

    Returns:
        The multiplier, a fraction in [0, 1], and the shapes.

    Example:
        >>> shapes = {"first": (8, 1), "last": (3, 8)}
        >>> nearest_narrow(shapes, 13)
        (0.375, {'first': (3, 1), 'last': (3, 3)})
    """
    return min(_possible(shapes, wanted), key=lambda found: abs(_count(found[1]) - wanted))


def _possible(shapes: Shapes, wanted: int) -> Iterator[tuple[float, Shapes]]:
    """Yield what may come near: at the multipliers at which a width changes, all ways to round."""
    sizes = sorted({size for shape in shapes.values() for size in shape[:2]})
    for part, whole in sorted({(k, size) for size in sizes for k in range(size + 1)}):
        down = {size: max(1, part * size // whole) for size in sizes}
        up = {size: min(size, part * size // whole + 1) for size in sizes}
        least, most = (_count(_narrowed(shapes, widths)) for widths in (down, up))
        if part == 0 or least <= wanted <= most:
            for widths in itertools.product(*zip(down.values(), up.values(), strict=True)):
                yield part / whole, _narrowed(shapes, dict(zip(sizes, widths, strict=True)))


def _narrowed(shapes: Shapes, widths: Mapping[int, int]) -> dict[str, tuple[int, ...]]:
    first, *_, last = [*shapes, *shapes]
    return {
        name: (
            outputs if name == last else widths[outputs],
            inputs if name == first else widths[inputs],
            *rest,
        )
        for name, (outputs, inputs, *rest) in shapes.items()
    }


def _count(shapes: Shapes) -> int:
    return sum(map(math.prod, shapes.values()))
