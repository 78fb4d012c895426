"""Random streams: every random number is a pure function of (seed, stream, counters).

Nothing here keeps a state, so nothing here needs saving: the order of epoch 7 is the order of epoch
7 whether or not epochs 0 to 6 were ever run, on any number of workers and ranks.
"""

import hashlib
from typing import Literal

import torch

Stream = Literal["init", "init/scratch", "order", "augment", "mask", "curve", "network"]


def stream_seed(seed: int, stream: Stream, *counters: int) -> int:
    """Derive the 63-bit seed of one place in one stream.

    A cryptographic hash instead of arithmetic on seeds, so that neighbouring seeds, streams and
    counters give unrelated numbers.

    Example:
        >>> stream_seed(1, "order", 0) == stream_seed(1, "order", 0)
        True
        >>> stream_seed(1, "order", 0) == stream_seed(1, "order", 1)
        False
    """
    text = "/".join([str(int(seed)), stream, *(str(int(counter)) for counter in counters)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream_generator(seed: int, stream: Stream, *counters: int) -> torch.Generator:
    """Make the generator for one place in one stream; it is on the CPU and used at once."""
    generator = torch.Generator()
    generator.manual_seed(stream_seed(seed, stream, *counters))
    return generator
