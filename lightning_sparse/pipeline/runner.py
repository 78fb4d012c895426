"""Runs jobs, one after another or side by side, and goes on with the others after a failure."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.pipeline.display import Display
from lightning_sparse.pipeline.jobs import AnyJob, unfinished, with_needs
from lightning_sparse.pipeline.places import AbstractPlaces
from lightning_sparse.pipeline.workers import Advance, Execute, First, Outcome, Workers


def run_jobs(
    jobs: Sequence[AnyJob],
    execute: Execute,
    *,
    places: AbstractPlaces,
    console: Console,
    first: First | None = None,
) -> None:
    """Run the jobs that are not finished, and whatever they need, each once, side by side.

    Args:
        jobs: What is wanted.
        execute: Runs one job; a function of a module, so that other processes find it.
        places: Where they run, and so how many at once; each is one process.
        console: Where progress is shown.
        first: Done before the first job begins, if any is to be made, in the process that then
            makes it; None for nothing.

    Raises:
        UserError: If ``first`` raises it, with no job begun; or if jobs failed, after all others
            that do not need them have finished.
        DivergedError: If all of those that failed did so by leaving the finite numbers.
    """
    wanted = with_needs(jobs)
    waiting = unfinished(wanted)
    console.print(f"{len(wanted)} runs and paths, {len(wanted) - len(waiting)} of them finished")
    # Read at import by the numerical libraries of the workers: one thread each, one worker a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    schedule = _Schedule(waiting)
    with Display(waiting, console) as display, Workers(execute) as workers:
        if first is not None and waiting:
            _do_first(first, workers, places, display)
        while schedule.waiting or workers.running:
            while (place := places.next_free(workers.places)) and (
                job := schedule.next_ready(workers.running)
            ):
                workers.start(job, place)
                display.start(job)
            for job, message in workers.wait(0.2):
                if isinstance(message, Advance):
                    places.has_begun(workers.place_of(job))
                    display.advance(job, message)
                    continue
                if message.error is not None:
                    schedule.fail(job, message)
                display.finish(job, message)
            display.refresh()
    if schedule.failures:
        diverged = all(outcome.diverged for _, outcome in schedule.failures)
        raise (DivergedError if diverged else UserError)(_describe(schedule))


def _do_first(first: First, workers: Workers, places: AbstractPlaces, display: Display) -> None:
    place = places.next_free([])
    assert place is not None
    outcome = workers.do_first(first, place)
    if outcome.trace:
        display.show(outcome.trace.rstrip())
    if outcome.error is not None:
        raise UserError(outcome.error)


def run_here(jobs: Sequence[AnyJob], execute: Execute, *, console: Console) -> None:
    """Run the jobs that are not finished, and whatever they need, one by one in this process.

    Raises:
        UserError: If one of them fails; the others are then not begun.
    """
    waiting = unfinished(with_needs(jobs))
    with Display(waiting, console) as display:
        for job in waiting:

            def report(done: int, total: int, job: AnyJob = job) -> None:
                display.advance(job, Advance(done=done, total=total))

            display.start(job)
            display.finish(job, Outcome(summary=execute(job, report)))


@dataclass
class _Schedule:
    """What waits, what failed, what cannot begin for that, and the place of each in the plan."""

    waiting: list[AnyJob]
    failures: list[tuple[AnyJob, Outcome]] = field(default_factory=list)
    dropped: list[AnyJob] = field(default_factory=list)
    place: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = {job.run_id: number for number, job in enumerate(self.waiting)}

    def next_ready(self, running: Sequence[AnyJob]) -> AnyJob | None:
        """Take the best job to begin now, if the needs of any are all finished."""
        pending = {job.run_id for job in [*self.waiting, *running]}
        ready = [job for job in self.waiting if not pending & {need.run_id for need in job.needs}]
        if not ready:
            return None
        # What others wait for goes first, then what takes longest.
        needed = {need.run_id for job in self.waiting for need in job.needs}
        chosen = max(ready, key=lambda job: (job.run_id in needed, job.cost))
        self.waiting.remove(chosen)
        return chosen

    def fail(self, failed: AnyJob, outcome: Outcome) -> None:
        """Note a failure and give up the jobs that need it, directly or not."""
        self.failures.append((failed, outcome))
        lost = {failed.run_id}
        # Needed jobs come first in the list, so that one pass finds everything.
        for job in list(self.waiting):
            if lost & {need.run_id for need in job.needs}:
                lost.add(job.run_id)
                self.waiting.remove(job)
                self.dropped.append(job)


def _and_others(number: int) -> str:
    return f" and {number} {'other' if number == 1 else 'others'}" if number else ""


def _describe(schedule: _Schedule) -> str:
    """Say every error once, with the first job that met it, in the order of the plan.

    Which job ended first is chance, so that the order of ends would say something else each time.
    """
    titles: dict[str | None, list[str]] = {}
    for job, outcome in sorted(
        schedule.failures, key=lambda failure: schedule.place[failure[0].run_id]
    ):
        titles.setdefault(outcome.error, []).append(job.title)
    lines = [
        f"{first}{_and_others(len(others))}: {error}" for error, (first, *others) in titles.items()
    ]
    if schedule.dropped:
        number = len(schedule.dropped)
        lines.append(f"{number} {'job' if number == 1 else 'jobs'} in need of these not begun")
    return "; ".join(lines)
