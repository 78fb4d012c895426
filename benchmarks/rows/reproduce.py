"""How long ``make reproduce`` takes: the default against the experiment that was it before."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import Scale

_OURS, _BEFORE = "digits_short", "digits"
_TINY = ["smoke", "reproduce.claims=[D2]"]
_SEED = 11


def trials(scale: Scale) -> Iterator[Trial]:
    """Everything of one seed, from nothing to the report, on every core there is."""
    sides = scale.choose({_OURS: [_OURS], _BEFORE: [_BEFORE]}, {_OURS: _TINY, _BEFORE: _TINY})
    yield Trial(
        name="make reproduce, one seed, set up before",
        sides={
            name: Side(what=f"experiment={words[0]}", measure=_seconds(words))
            for name, words in sides.items()
        },
        claims=[Claim(statement="default / before", quantity=Ratio(_OURS, _BEFORE), bar=0.5)],
        # Three minutes a round on two cores; the interval is then from the least to the largest.
        num_rounds=scale.choose(3, 1),
        seconds=600,
    )


def _seconds(words: list[str]) -> Callable[[], float]:
    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *(sys.executable, "-m", "lightning_sparse.cli.main", "reproduce"),
                *(f"experiment={words[0]}", *words[1:]),
                *(f"reproduce.seeds=[{_SEED}]", f"runs_dir={folder}"),
            ]
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            return time.perf_counter() - started

    return measure
