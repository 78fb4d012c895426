"""How tests are shared out when several processes run them, as `make test` does.

A process takes a whole file at a time, or a whole folder where its tests share what exists once, so
what a file prepares is prepared once. What takes minutes begins first: no core waits for it at the
end.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# One SLURM for all of them: two would share a host's munge and its ports.
_TOGETHER = ("tests/slurm",)

# What is marked with one of these starts processes or trains, for minutes.
_LONG = ("slurm", "dist", "faults", "pipeline")


class SchedulingByFile(LoadScopeScheduling):
    """Gives a process the tests of one file after the other, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def is_worker(config: pytest.Config) -> bool:
    """Tell whether this process was started by another to run a share of the tests."""
    return hasattr(config, "workerinput")


def unit(nodeid: str) -> str:
    """Return the file or folder whose tests one process runs."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in _TOGETHER if file.startswith(f"{folder}/")), file)


def long_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests by unit, and those units first in which a test is marked as long."""
    ranks: dict[str, int] = {}
    for item in items:
        of = unit(item.nodeid)
        ranks[of] = min(ranks.get(of, len(_LONG)), _rank(item))
    return sorted(items, key=lambda item: ranks[unit(item.nodeid)])


def num_processes(named: Iterable[str], num_cores: int) -> int:
    """Return how many processes to start for what is named: none for what one alone would run."""
    files = {Path(name.partition("::")[0]) for name in named}
    num_units = len(files) if all(file.is_file() for file in files) else num_cores
    number = min(num_units, num_cores)
    return 0 if number == 1 else number


def _rank(item: pytest.Item) -> int:
    marks = (number for number, mark in enumerate(_LONG) if item.get_closest_marker(mark))
    return next(marks, len(_LONG))
