"""Where jobs run side by side: on any core, or on GPUs, as many on each as fit. No torch."""

import math
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

# Measured after a run's first steps; evaluating many points of a path takes more than a step.
_LARGEST_OVER_FIRST = 2
_SHARE_TO_USE = 0.9
_MIB_PER_GIB = 1024
_QUERY = ("--query-gpu=uuid,memory.total,memory.free", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Place:
    """What a process is told of where it runs.

    Attributes:
        variables: Names and values of environment variables.
    """

    variables: tuple[tuple[str, str], ...] = ()


class AbstractPlaces(ABC):
    """Decides where the next job runs."""

    @abstractmethod
    def next_free(self, taken: Sequence[Place]) -> Place | None:
        """Return where one more job may run beside those at ``taken``; None if nowhere."""

    @abstractmethod
    def has_begun(self, place: Place) -> None:
        """Take note that a job at ``place`` has made its first steps."""


@final
@dataclass(frozen=True)
class Anywhere(AbstractPlaces):
    """So many processes, which the system puts on cores.

    Attributes:
        num_processes: How many run at once.
    """

    num_processes: int

    def next_free(self, taken: Sequence[Place]) -> Place | None:
        """See `AbstractPlaces`."""
        return Place() if len(taken) < self.num_processes else None

    def has_begun(self, place: Place) -> None:
        """Do nothing: the number is given."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as ``nvidia-smi`` sees it.

    Attributes:
        uuid: Its name, which CUDA takes too; its number may be another for either.
        total_mib: Its memory.
        free_mib: What of it nobody uses.
    """

    uuid: str
    total_mib: int
    free_mib: int


Gpus = Mapping[str, Gpu]
"""GPUs by uuid, in the machine's order."""


def read_gpus() -> Gpus:
    """Ask ``nvidia-smi``; no GPUs where it is missing or finds none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    answer = subprocess.run(  # noqa: S603 (its own path, and fixed arguments)
        [program, *_QUERY], capture_output=True, text=True, check=False
    )
    return parse_gpus(answer.stdout) if answer.returncode == 0 else {}


def parse_gpus(text: str) -> Gpus:
    """Read the answer of ``nvidia-smi``; lines that name no memory are left out.

    Example:
        >>> parse_gpus("GPU-5f, 81559, 81079")["GPU-5f"].free_mib
        81079
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return {
        uuid: Gpu(uuid=uuid, total_mib=int(total), free_mib=int(free))
        for uuid, total, free in (row for row in rows if len(row) == len(("uuid", "total", "free")))
        if total.isdigit() and free.isdigit()
    }


def chosen_gpus(listed: Gpus, devices: int | Sequence[int], visible: str | None) -> list[str]:
    r"""Name the GPUs that a user meant.

    Args:
        listed: Those of the machine.
        devices: How many, -1 for all, or which, counted among the visible ones.
        visible: The value of ``CUDA_VISIBLE_DEVICES``, numbers or names; None if it is not set.

    Returns:
        Their uuids; none if not all of them are there, or they are parts of GPUs (MIG).

    Example:
        >>> gpus = parse_gpus("GPU-a, 9, 9\nGPU-b, 9, 9\nGPU-c, 9, 9")
        >>> chosen_gpus(gpus, 2, None), chosen_gpus(gpus, [0], "2,1"), chosen_gpus(gpus, 4, None)
        (['GPU-a', 'GPU-b'], ['GPU-c'], [])
    """
    uuids = list(listed)
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()]
        matches = [
            [uuids[int(name)]] if name.isdigit() and int(name) < len(uuids)
            else [uuid for uuid in uuids if uuid.startswith(name)]
            for name in names
        ]  # fmt: skip
        if any(len(match) != 1 for match in matches):
            return []
        uuids = [match[0] for match in matches]
    if devices == -1:
        return uuids
    wanted = range(devices) if isinstance(devices, int) else devices
    return [uuids[k] for k in wanted] if all(0 <= k < len(uuids) for k in wanted) else []


def runs_that_fit(before: Gpu, during: Gpu) -> int:
    """Say how many runs may share a GPU, from its memory before and, less, during the first.

    Example:
        >>> before = Gpu(uuid="a", total_mib=80_000, free_mib=79_000)
        >>> runs_that_fit(before, Gpu(uuid="a", total_mib=80_000, free_mib=78_000))
        35
        >>> runs_that_fit(before, Gpu(uuid="a", total_mib=80_000, free_mib=20_000))
        1
    """
    of_one = before.free_mib - during.free_mib
    return max(1, math.floor(_SHARE_TO_USE * before.free_mib / (_LARGEST_OVER_FIRST * of_one)))


@final
class OnGpus(AbstractPlaces):
    """Each job on one GPU, which it shares with as many others as fit.

    Each GPU gets one job; when the first job has made its first steps, what it takes is measured.

    Args:
        uuids: The GPUs.
        num_processes: How many jobs run at once on all of them; None for as many as fit and have a
            core.
        setting: Where a user sets it.
        num_cores: How many cores there are.
        measure: Gives the memory of the GPUs at the moment.
        say: Told what was decided.
    """

    def __init__(
        self,
        uuids: Sequence[str],
        *,
        num_processes: int | None,
        setting: str,
        num_cores: int,
        measure: Callable[[], Gpus] = read_gpus,
        say: Callable[[str], None],
    ) -> None:
        self._uuids = list(uuids)
        self._setting = setting
        self._measure = measure
        self._say = say
        self._before = measure()
        self._num_cores = num_cores
        self._is_decided = num_processes is not None
        # Until something is known of what a run takes, each GPU gets one.
        self._at_once = num_processes or min(num_cores, len(self._uuids))

    def next_free(self, taken: Sequence[Place]) -> Place | None:
        """Return the GPU with the fewest jobs; see `AbstractPlaces`."""
        if len(taken) >= self._at_once:
            return None
        number = Counter(taken)
        return min(map(_on, self._uuids), key=lambda place: number[place])

    def has_begun(self, place: Place) -> None:
        """Measure what the first job takes, and decide how many may run; see `AbstractPlaces`."""
        if self._is_decided:
            return
        self._is_decided = True
        uuid, now = dict(place.variables)["CUDA_VISIBLE_DEVICES"], self._measure()
        if uuid not in now or uuid not in self._before:
            return
        before, during = self._before[uuid], now[uuid]
        if during.free_mib >= before.free_mib:
            self._say(
                "another program has given GPU memory back meanwhile, so what a run takes cannot "
                f"be measured: one at a time on a GPU ({self._setting}=N for another number)"
            )
            return
        fitting = runs_that_fit(before, during)
        self._at_once = min(self._num_cores, fitting * len(self._uuids))
        taken_gib = (before.free_mib - during.free_mib) / _MIB_PER_GIB
        self._say(
            f"a run takes {taken_gib:.1f} of {before.free_mib / _MIB_PER_GIB:.1f} GiB at its first "
            f"steps, so {fitting} fit on a GPU: {self._at_once} at a time on {len(self._uuids)} "
            f"{'GPU' if len(self._uuids) == 1 else 'GPUs'} and {self._num_cores} cores "
            f"({self._setting}=N for another number)"
        )


def _on(uuid: str) -> Place:
    return Place((("CUDA_VISIBLE_DEVICES", uuid),))
