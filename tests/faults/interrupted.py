"""A run that signals itself after a chosen step: a process of its own, started by the tests.

Lightning starts this file again for every further rank.
"""

import contextlib
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_sparse.data import loader
from lightning_sparse.errors import UserError
from lightning_sparse.execution.execute import execute
from lightning_sparse.execution.worker import silence_lightning
from lightning_sparse.pipeline.jobs import Job, unfinished, with_needs
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.process.preemption import Preempted, ends_when_asked
from lightning_sparse.settings.compose import compose_settings

# Whoever forks from here has it already; it takes seconds, and may be missing.
with contextlib.suppress(ImportError):
    importlib.import_module("lightning_sparse.data.ffcv.beton")


def planned(kind: str, overrides: Sequence[str]) -> Job:
    settings = compose_settings(overrides)
    return plan_path(settings) if kind == "path" else plan_training(settings)


NO_MORE_MEMORY = "no more memory"
OTHER_CROPS = "other crops"


def signal_at(step: int, name: str, rank: int = 0) -> Callable[[int, int], None]:
    """Make a report that does this to the process after ``step``; 0 for never.

    ``name`` is that of a signal, or `NO_MORE_MEMORY`.
    """

    def report(done: int, _: int) -> None:
        if done != step or int(os.environ.get("LOCAL_RANK", "0")) != rank:
            return
        if name == NO_MORE_MEMORY:
            _deny_more_memory()
        else:
            os.kill(os.getpid(), signal.Signals[name])

    return report


def _deny_more_memory() -> None:
    """Let the kernel refuse what is asked for beyond the present address space and a little."""
    num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = (num_pages + 1024) * resource.getpagesize()
    _, largest = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, largest))


def _draw_other_crops() -> None:
    """Crop and mirror as a loader does that keeps no account of seed, epoch and index."""
    draw = loader.uniform_draws
    loader.uniform_draws = lambda key, *rest: draw(key + 1, *rest)


def execute_short_of_memory(job: Job, report: Callable[[int, int], None] | None) -> str:
    """Make one run of a pipeline; to one that prunes, deny memory near its end."""
    denies = job.run_id.startswith("smoke-prune")
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    try:
        execute(job, signal_at(20, NO_MORE_MEMORY) if denies else report)
    finally:
        # The process goes on to other runs.
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
    return "made"


def run(kind: str, overrides: Sequence[str], step: int, name: str, rank: int = 0) -> int:
    """Plan one run and make it as `run_planned` does; return the status to exit with."""
    return run_planned(lambda: planned(kind, overrides), step, name, rank)


def run_planned(plan: Callable[[], Job], step: int, name: str, rank: int = 0) -> int:
    """Make one run, in which this happens after ``step``; return the status to exit with.

    What it needs and is not there is made first, undisturbed.

    `OTHER_CROPS` are drawn from the beginning, whatever the step.
    """
    silence_lightning()
    if name == OTHER_CROPS:
        _draw_other_crops()
    try:
        with ends_when_asked():
            job = plan()
            for needed in unfinished(with_needs(job.needs)):
                execute(needed)
            execute(job, signal_at(step, name, rank))
    except Preempted as preempted:
        return preempted.exit_status
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    kind, step, name, rank, *overrides = sys.argv[1:]
    sys.exit(run(kind, overrides, int(step), name, int(rank)))
