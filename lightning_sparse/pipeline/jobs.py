"""A job makes one run folder; a job is finished when that folder holds its record. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from lightning_sparse.points import Moment
from lightning_sparse.records import RECORD_FILE, Record, read_record

S = TypeVar("S")
"""What a job runs with, in whatever form its maker reads; nothing in this room looks at it."""


@dataclass(frozen=True, kw_only=True)
class PlannedPoint(Generic[S]):
    """A point of a run that a job needs: its name, the run, and the job that makes that run.

    Attributes:
        name: The point, as records have it.
        run_id: Of the run.
        run_dir: Its folder.
        moment: When in the run.
        sparsity: Nominal sparsity of the run, in [0, 1); 0 if it is dense.
        job: What makes the run; None if it was there before and was named by its folder.
    """

    name: str
    run_id: str
    run_dir: Path
    moment: Moment
    sparsity: float
    job: "Job[S] | None"

    @property
    def identity(self) -> str:
        """Run id and moment, which a path's own id is made from."""
        return f"{self.run_id}:{self.moment}"


@dataclass(frozen=True, kw_only=True)
class Job(Generic[S]):
    """One training run or one path.

    Attributes:
        run_id: Names the job, its folder and its record.
        kind: Which of the two.
        title: What a person reads while it runs.
        run_dir: The folder it makes.
        settings: What it runs with; sent to another process.
        points: What it begins with, by what they are to it: ``start`` and ``masks`` of a run, those
            that it has; ``start`` and ``end`` of a path, and ``freed_by``.
        needs: Jobs that must be finished before it starts.
        cost: Rough duration relative to other jobs, by which the longest starts first.
    """

    run_id: str
    kind: Literal["train", "path"]
    title: str
    run_dir: Path
    settings: S
    points: Mapping[str, PlannedPoint[S]] = field(default_factory=dict)
    needs: tuple["Job[S]", ...] = ()
    cost: float = 1.0

    @property
    def ends(self) -> tuple[PlannedPoint[S], PlannedPoint[S]]:
        """The points that a path joins."""
        return self.points["start"], self.points["end"]

    @property
    def is_finished(self) -> bool:
        """Whether the record, which is written last, is there."""
        return (self.run_dir / RECORD_FILE).is_file()

    def record(self) -> Record:
        """Read the record of a finished job; see `records.read_record`."""
        return read_record(self.run_dir)


AnyJob: TypeAlias = Job[Any]
"""A job whose settings nobody looks at."""


def with_needs(jobs: Iterable[Job[S]]) -> list[Job[S]]:
    """Return the jobs and everything they need, each once, needed ones first.

    Example:
        >>> first = Job(run_id="a", kind="train", title="", run_dir=Path("a"), settings={})
        >>> second = Job(
        ...     run_id="b", kind="path", title="", run_dir=Path("b"), settings={}, needs=(first,)
        ... )
        >>> [job.run_id for job in with_needs([second, first])]
        ['a', 'b']
    """
    ordered: dict[str, Job[S]] = {}

    def visit(job: Job[S]) -> None:
        if job.run_id not in ordered:
            for needed in job.needs:
                visit(needed)
            ordered[job.run_id] = job

    for job in jobs:
        visit(job)
    return list(ordered.values())


def unfinished(jobs: Sequence[Job[S]]) -> list[Job[S]]:
    """Return the jobs whose record is missing, in the order given."""
    return [job for job in jobs if not job.is_finished]
