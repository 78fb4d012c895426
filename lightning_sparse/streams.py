"""Random streams: every random number is a pure function of (seed, stream, counters).

Nothing here keeps a state, so nothing here needs saving: the order of epoch 7 is the order of epoch
7 whether or not epochs 0 to 6 were ever run, on any number of workers and ranks.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

Stream = Literal["init", "init/scratch", "order", "augment", "mask", "curve", "network"]
StartStream = Literal["init", "init/scratch"]


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


@contextlib.contextmanager
def global_generators_of(seed: int, stream: Stream, *counters: int) -> Iterator[None]:
    """Let code that is not ours draw from one place in one stream, and undo that afterwards.

    Seeded are all generators that such code can draw from without making its own: torch's,
    NumPy's legacy one (which SciPy uses too) and Python's.

    Example:
        >>> def draw():
        ...     with global_generators_of(1, "init"):
        ...         return float(torch.rand(())), float(np.random.rand()), random.random()
        >>> draw() == draw()
        True
    """
    value = stream_seed(seed, stream, *counters)
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    had_cuda = torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if had_cuda else ()
    try:
        with torch.random.fork_rng(devices=devices):
            torch.random.set_rng_state(stream_generator(seed, stream, *counters).get_state())
            torch.cuda.manual_seed_all(value)
            np.random.seed(value % 2**32)  # noqa: NPY002, TID251 (undone below)
            random.seed(value)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if not had_cuda:
            # Where a device had no generator yet, it gets the one it would have had.
            torch.cuda.manual_seed_all(torch.initial_seed())
