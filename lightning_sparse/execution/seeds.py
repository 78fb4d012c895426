"""What a point is over several seeds: its runs, and the means that it is judged by. No torch."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from rich.console import Console

from lightning_sparse.execution.session import run_wanted
from lightning_sparse.execution.tracker_choice import tracker_over_seeds
from lightning_sparse.records import Record
from lightning_sparse.settings.compose import Composed, compose_settings, latest
from lightning_sparse.settings.jobs import Job
from lightning_sparse.tracking.results import summary


def run_over_seeds(settings: Composed, plan: Callable[[Composed], Job], console: Console) -> None:
    """Make one run for each of ``sweep.seeds``, and report the mean of every number as the point's.

    The runs are the same as those of single commands, and stand in their own folders; a tracker is
    told of the means alone, under the names that a single run's numbers have. So a search that
    learns from its results does not run after the luck of one seed.

    Args:
        settings: Of the point; their ``seed`` is not used.
        plan: From settings to the job of one seed.
        console: Where it is said what came out.
    """
    jobs = [plan(with_seed(settings, seed)) for seed in settings.sweep.seeds]
    ids = hashlib.sha256(" ".join(job.run_id for job in jobs).encode()).hexdigest()[:8]
    with tracker_over_seeds(settings, jobs, ids) as tracker:
        for job in jobs:
            run_wanted(job, console)
        means = mean_summary(job.record() for job in jobs)
        tracker.summarise(means)
    shown = " ".join(f"{name} {value:.6g}" for name, value in means.items())
    text = f"mean of {len(jobs)} seeds: {shown}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def with_seed(settings: Composed, seed: int) -> Composed:
    """Compose the settings of one seed, without those of the sweep and of the tracker."""
    # A W&B run is the whole point's, and there is one at a time.
    words = settings.source.words
    general = [item for item in words if not item.startswith(("sweep.", "logger"))]
    return compose_settings(latest([*general, f"seed={seed}"]))


def mean_summary(records: Iterable[Record]) -> Mapping[str, float]:
    """Return the mean of every number that all records have."""
    summaries: Sequence[Mapping[str, float | int | None]] = [summary(item) for item in records]
    means = {}
    for name in summaries[0]:
        values = [item.get(name) for item in summaries]
        numbers = [value for value in values if value is not None]
        if len(numbers) == len(values):
            means[name] = fmean(numbers)
    return means
