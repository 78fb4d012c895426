"""The most memory that steps, curves and path evaluation have resident at once, each by itself."""

import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.pairing import Absolute, Claim, Ratio, Side, Trial
from benchmarks.workloads import Scale

# 2 GiB in units of 10^6 bytes.
_LAPTOP = 2**31 / 1e6

_TASKS = {
    "digits run": "a run of the digits experiment, one core's process",
    "dense step": "ResNet-50, 16 x 64 px, no masks",
    "masked step": "the same with masks",
    "path step": "the same on a quadratic curve",
    "29 points": "ResNet-50, 29 points of a line at once, batches of 8 x 64 px",
    "29 points, 4 at once": "the same with evaluation.points_at_once=4",
}


def trials(scale: Scale) -> Iterator[Trial]:
    """Once each: peaks hardly vary."""
    # Tiny runs see that the processes work; two show both kinds of task.
    names = scale.choose(list(_TASKS), ["digits run", "29 points, 4 at once"])
    yield Trial(
        name="peak memory",
        sides={name: Side(what=_TASKS[name], measure=_peak(name, scale)) for name in names},
        claims=[
            Claim(statement="digits run: fits 2 GiB", quantity=Absolute("digits run"), bar=_LAPTOP),
            *(
                Claim(statement=f"{ours} / {theirs}", quantity=Ratio(ours, theirs))
                for ours, theirs in (
                    ("masked step", "dense step"),
                    ("path step", "dense step"),
                    ("29 points", "29 points, 4 at once"),
                )
                if {ours, theirs} <= set(names)
            ),
        ],
        unit="MB",
        num_rounds=1,
    )


def _peak(name: str, scale: Scale) -> Callable[[], float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peak", name]
    command += ["--tiny"] if scale.is_tiny else []

    def measure() -> float:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    return measure
