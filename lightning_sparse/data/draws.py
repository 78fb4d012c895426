"""Random numbers addressed by counters, without a generator: one hash per number.

Any number can be had alone and in any order, here and, for loaders that compile their operations,
in a few lines there; so workers, ranks and resumed positions need no state.
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform_draws(
    key: int, indices: Int64[np.ndarray, " n"], num_draws: int
) -> Float64[np.ndarray, "n num_draws"]:
    """Draw ``num_draws`` uniform numbers in [0, 1) for each index: a pure function of all three.

    The bits are SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
    generators"), started for each index at a hash of ``key`` and the index.

    Args:
        key: Names the family of numbers, below 2**63; see `lightning_sparse.streams.stream_seed`.
        indices: For example sample indices; not negative.
        num_draws: Numbers per index; asking for more leaves the first ones as they are.

    Example:
        >>> first = uniform_draws(1, np.array([3, 4]), 2)
        >>> bool((uniform_draws(1, np.array([4]), 1) == first[1, 0]).all())
        True
    """
    # The addition and multiplication of uint64 arrays wrap around, which is what the hash wants.
    start = _mixed(np.uint64(key) ^ _mixed(indices.astype(np.uint64) * _GOLDEN + _GOLDEN))
    columns = np.arange(1, num_draws + 1, dtype=np.uint64) * _GOLDEN
    bits = _mixed(start[:, None] + columns)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fixed_permutation(num_images: int) -> Int64[np.ndarray, " n"]:
    """Shuffle ``0 .. num_images - 1`` in one way for ever, whatever the seed of a run.

    Splits, subsets and the order of evaluation come from here: they name what is measured, so
    they must not vary between runs, machines or library versions.
    """
    order: Int64[np.ndarray, " n"] = np.argsort(
        uniform_draws(0, np.arange(num_images), 1)[:, 0], kind="stable"
    )
    return order


def _mixed(bits: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Finish SplitMix64: every input bit reaches every output bit."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, "*shape"] = bits ^ (bits >> np.uint64(31))
    return mixed
