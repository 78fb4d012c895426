"""A job makes one run folder; a job is finished when that folder holds its record. No torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_sparse.records import RECORD_FILE, Record, read_record


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training run or one path.

    Attributes:
        run_id: Names the job, its folder and its record.
        kind: Which of the two.
        title: What a person reads while it runs.
        run_dir: The folder it makes.
        overrides: The settings it runs with, small enough to send to another process.
        needs: Jobs that must be finished before it starts.
        cost: Rough duration relative to other jobs, by which the longest starts first.
    """

    run_id: str
    kind: Literal["train", "path"]
    title: str
    run_dir: Path
    overrides: tuple[str, ...]
    needs: tuple["Job", ...] = ()
    cost: float = 1.0

    @property
    def is_finished(self) -> bool:
        """Whether the record, which is written last, is there."""
        return (self.run_dir / RECORD_FILE).is_file()

    def record(self) -> Record:
        """Read the record of a finished job; see `records.read_record`."""
        return read_record(self.run_dir)


def with_needs(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs and everything they need, each once, needed ones first.

    Example:
        >>> first = Job(run_id="a", kind="train", title="", run_dir=Path("a"), overrides=())
        >>> second = Job(
        ...     run_id="b", kind="path", title="", run_dir=Path("b"), overrides=(), needs=(first,)
        ... )
        >>> [job.run_id for job in with_needs([second, first])]
        ['a', 'b']
    """
    ordered: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.run_id not in ordered:
            for needed in job.needs:
                visit(needed)
            ordered[job.run_id] = job

    for job in jobs:
        visit(job)
    return list(ordered.values())


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs whose record is missing, in the order given."""
    return [job for job in jobs if not job.is_finished]
