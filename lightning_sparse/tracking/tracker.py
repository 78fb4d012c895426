"""What a tracker is told of a run, and the one that tells nobody."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lightning_sparse.records import Record


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """Who a run is to a tracker.

    Attributes:
        run_id: Names the run, its folder and its record.
        kind: One end point, one path, or a report on many.
        group: What runs that differ in their seed alone share.
        tags: Words to find it by.
        config: The resolved settings, and the commit.
        run_dir: Its folder.
        is_sweep_point: Whether it is what the agent of a sweep asked for; a run that had to be made
            first is not.
    """

    run_id: str
    kind: Literal["train", "path", "report"]
    group: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    run_dir: Path
    is_sweep_point: bool = False


class AbstractTracker(ABC):
    """A context manager around one run; nothing that happens to it reaches the run."""

    @abstractmethod
    def __enter__(self) -> "AbstractTracker":
        """Begin the run, or go on with it."""

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it: finished, failed, or interrupted and to be resumed."""

    @abstractmethod
    def log(self, entry: Mapping[str, Any]) -> None:
        """Take one line of history; see `lightning_sparse.training.progress`."""

    @abstractmethod
    def finish(self, record: Record) -> None:
        """Take what came out."""

    @abstractmethod
    def summarise(self, values: Mapping[str, float]) -> None:
        """Take what came out of several runs together."""

    @abstractmethod
    def log_page(self, page: Path) -> None:
        """Take a page of HTML."""


class NoTracker(AbstractTracker):
    """Tells nobody."""

    def __enter__(self) -> "NoTracker":
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def log(self, entry: Mapping[str, Any]) -> None:
        """Do nothing."""

    def finish(self, record: Record) -> None:
        """Do nothing."""

    def summarise(self, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def log_page(self, page: Path) -> None:
        """Do nothing."""
