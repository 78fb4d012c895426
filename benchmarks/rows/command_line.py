"""How long the command line takes to answer: new processes, from start to exit."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.pairing import Absolute, Claim, Side, Trial
from benchmarks.workloads import Scale

_CALLS = {
    "help": ["--help"],
    "unknown verb": ["trian"],
    "unknown setting": ["train", "training.learning_rat=0.1"],
}


def trials(scale: Scale) -> Iterator[Trial]:
    """Help and two mistakes."""
    yield Trial(
        name="lightning-sparse answers",
        sides={
            name: Side(what=f"lightning-sparse {' '.join(words)}", measure=_seconds(words))
            for name, words in _CALLS.items()
        },
        claims=[Claim(statement=name, quantity=Absolute(name), bar=1.0) for name in _CALLS],
        num_rounds=scale.choose(None, 1),
        seconds=15,
    )


def _seconds(words: list[str]) -> Callable[[], float]:
    command = [sys.executable, "-m", "lightning_sparse.cli.main", *words]

    def measure() -> float:
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)
        return time.perf_counter() - started

    return measure
