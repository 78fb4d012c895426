"""An image resized in plain Python: by means over cells, or between neighbouring centres."""

import math


def shares(length, size, i):
    """Return the share of each old pixel in the new pixel ``i``, by number."""
    scale = length / size
    if scale >= 1:
        start, stop = i * scale, (i + 1) * scale
        overlaps = {k: min(stop, k + 1) - max(start, k) for k in range(int(start), math.ceil(stop))}
        return {k: part / scale for k, part in overlaps.items() if part > 1e-9}
    centre = min(max((i + 0.5) * scale - 0.5, 0), length - 1)
    low = int(centre)
    high = min(low + 1, length - 1)
    if high == low:
        return {low: 1.0}
    return {low: low + 1 - centre, high: centre - low}


def resized(levels, size):
    """Resize rows of levels, [height][width], to a square; not rounded."""
    across = [
        [sum(share * row[k] for k, share in shares(len(row), size, i).items()) for i in range(size)]
        for row in levels
    ]
    return [
        [
            sum(share * across[k][i] for k, share in shares(len(levels), size, j).items())
            for i in range(size)
        ]
        for j in range(size)
    ]
