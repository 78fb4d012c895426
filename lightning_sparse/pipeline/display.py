"""Shows what runs and what remains: bars on a terminal, a line for each finished job elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lightning_sparse.pipeline.jobs import AnyJob
from lightning_sparse.pipeline.workers import Advance, Outcome

_ENOUGH_TO_GUESS = 0.02  # share of all work, from which the remaining time is worth a guess
_LONG = 90  # seconds, from which it is said in minutes


class Display:
    """A context manager; see the module.

    Args:
        jobs: All that are to be run.
        console: Where to.
    """

    def __init__(self, jobs: Sequence[AnyJob], console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._costs = {job.run_id: job.cost for job in jobs}
        self._fractions: dict[str, float] = {}
        self._finished_cost = 0.0
        self._num_finished = 0
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[remaining]}"),
            console=console,
            disable=not console.is_terminal,
        )
        if len(jobs) > 1:
            self._all: TaskID | None = self._progress.add_task(
                "everything", total=1.0, remaining=""
            )
        else:
            self._all = None

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, job: AnyJob) -> None:
        """Show that a job has begun."""
        self._bars[job.run_id] = self._progress.add_task(job.title, total=1.0, remaining="")

    def advance(self, job: AnyJob, advance: Advance) -> None:
        """Show how far a job is."""
        self._fractions[job.run_id] = advance.done / max(1, advance.total)
        self._progress.update(self._bars[job.run_id], completed=self._fractions[job.run_id])

    def finish(self, job: AnyJob, outcome: Outcome) -> None:
        """Print what came of a job; a traceback too, if the fault is not the user's."""
        self._progress.remove_task(self._bars.pop(job.run_id))
        self._fractions.pop(job.run_id, None)
        self._finished_cost += job.cost
        self._num_finished += 1
        if outcome.trace:
            self.show(outcome.trace.rstrip())
        result = (
            f"failed: {outcome.error}" if outcome.error is not None else outcome.summary or "done"
        )
        place = f"[{self._num_finished:>{len(str(len(self._costs)))}}/{len(self._costs)}]"
        self.show(f"{place} {job.title}: {result}{self._remaining()}")
        self.refresh()

    def refresh(self) -> None:
        """Bring the bar of everything up to date."""
        if self._all is not None:
            remaining = self._remaining().removeprefix(", ")
            self._progress.update(self._all, completed=self._share(), remaining=remaining)

    def show(self, text: str) -> None:
        """Print something above the bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _share(self) -> float:
        running = sum(self._costs[run_id] * part for run_id, part in self._fractions.items())
        return (self._finished_cost + running) / sum(self._costs.values())

    def _remaining(self) -> str:
        share = self._share()
        if not _ENOUGH_TO_GUESS <= share < 1:
            return ""
        seconds = (time.monotonic() - self._started) * (1 - share) / share
        number, unit = (seconds / 60, "min") if seconds > _LONG else (seconds, "s")
        return f", about {number:.0f} {unit} left"
