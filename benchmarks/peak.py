"""``python -m benchmarks.peak NAME [--tiny]``: do one thing, and print the most memory it took.

In a process of its own, because what a process has once had resident is never given back.
"""

import argparse
from collections.abc import Callable, Mapping

import torch

from benchmarks.evaluation import evaluate_noise
from benchmarks.rows.trainer import run_digits
from benchmarks.workloads import (
    Scale,
    masked_step,
    path_step,
    plain_step,
    random_batch,
    resnet50,
    use_cores,
)
from lightning_sparse.training.observations import peak_memory_gib

_MB_PER_GIB = 2**30 / 1e6


def _step(make: Callable[[Scale], Callable[[], object]]) -> Callable[[Scale], object]:
    def two_steps(scale: Scale) -> None:
        step = make(scale)
        # Momentum comes with the first update.
        step()
        step()

    return two_steps


def _batch(scale: Scale) -> tuple[int, int]:
    return scale.choose((16, 64), (2, 16))


TASKS: Mapping[str, Callable[[Scale], object]] = {
    "digits run": run_digits,
    "dense step": _step(lambda s: plain_step(resnet50(s), random_batch(*_batch(s), s))),
    "masked step": _step(lambda s: masked_step(s, random_batch(*_batch(s), s))),
    "path step": _step(
        lambda s: path_step(resnet50(s), random_batch(*_batch(s), s), degree=2, is_sparse=False)
    ),
    "29 points": lambda s: evaluate_noise(s, points_at_once=29),
    "29 points, 4 at once": lambda s: evaluate_noise(s, points_at_once=4),
}


def main() -> None:
    """Do the task that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak", description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    use_cores()
    TASKS[options.task](Scale(is_tiny=options.tiny))
    print(peak_memory_gib(torch.device("cpu")) * _MB_PER_GIB)


if __name__ == "__main__":
    main()
