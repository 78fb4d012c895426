"""Weights & Biases, through Lightning's WandbLogger.

Not handed to the Trainer: a line has none, and an error in a logger of the Trainer ends training.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec

import wandb
from pytorch_lightning.loggers import WandbLogger

from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.process.preemption import asked_at_good_moments
from lightning_sparse.records import PathRecord, Record
from lightning_sparse.tracking.results import CURVE_COLUMNS, curve_rows, metrics, summary
from lightning_sparse.tracking.tracker import AbstractTracker, TrackedRun
from lightning_sparse.tracking.wandb_service import bound_its_end, end_service

TRACKER_FILE = "wandb.json"
"""In a run's folder: which W&B run it is, the agent's id too if a sweep asked for it."""

# What the agent of a sweep tells its child.
SWEEP_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")

_LONGEST_ID = 64
_INIT_SECONDS = 30
# What is not sent by then stays in the run's folder, for `wandb sync`. Schedulers kill a run soon
# after they have asked it to stop.
_FINISH_SECONDS = 30

Mode = Literal["online", "offline"]

_P = ParamSpec("_P")


@dataclass(frozen=True, kw_only=True)
class WandbSettings:
    """Where runs are logged to.

    Attributes:
        project: Name of the W&B project.
        entity: User or team; None for the account's own choice.
        mode: Whether to send what is logged at once; None for what ``WANDB_MODE`` says.
    """

    project: str
    entity: str | None = None
    mode: Mode | None = None


def tracker_id(run_id: str) -> str:
    """Derive the W&B id from a run id, so that a restarted run goes on as the same W&B run.

    W&B takes 64 characters; the hash, by which runs differ, is at the end.

    Example:
        >>> tracker_id("digits-prune-s0.98-seed11-1f0a93bd")
        'digits-prune-s0.98-seed11-1f0a93bd'
        >>> len(tracker_id("long" * 20 + "-1f0a93bd"))
        64
    """
    return run_id[-_LONGEST_ID:].lstrip("-")


def _never_raises(
    method: Callable[Concatenate["WandbTracker", _P], None],
) -> Callable[Concatenate["WandbTracker", _P], None]:
    """Give up tracking, not training, when anything goes wrong in ``method``."""

    @functools.wraps(method)
    def call(self: "WandbTracker", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 (whatever W&B raises, the run goes on)
            self.give_up(error)

    return call


class WandbTracker(AbstractTracker):
    """One W&B run.

    If the server cannot be reached when the run begins, the run is logged offline.

    Args:
        run: Who it is.
        settings: Where it is logged to.
        say: Called with what the user should know: an address, or that something is amiss.
    """

    def __init__(
        self, run: TrackedRun, settings: WandbSettings, say: Callable[[str], None]
    ) -> None:
        self._run = run
        self._settings = settings
        self._say = say
        self._logger: WandbLogger | None = None

    def __enter__(self) -> "WandbTracker":
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the W&B run; one that was stopped from outside is marked as to be resumed."""
        # Schedulers, agents and launchers may all pass on the same request to stop; another one
        # would cut off what tells W&B that the run is to be resumed.
        with asked_at_good_moments():
            self._end(failed=error is not None, stopped=not isinstance(error, Exception | None))

    @_never_raises
    def log(self, entry: Mapping[str, Any]) -> None:
        """Log one line of history at its optimizer step."""
        if self._logger is not None:
            self._logger.log_metrics(metrics(entry), step=entry["step"])

    @_never_raises
    def finish(self, record: Record) -> None:
        """Log what came out; of a path its points too, as a table and as a chart."""
        if self._logger is None:
            return
        self._logger.experiment.summary.update(summary(record))
        if isinstance(record, PathRecord):
            rows = curve_rows(record)
            table = wandb.Table(columns=list(CURVE_COLUMNS), data=rows)
            chart = wandb.plot.line(table, x="t", y="train_loss", title="training loss on the path")
            self._logger.experiment.log({"path/points": table, "path/chart": chart})

    @_never_raises
    def summarise(self, values: Mapping[str, float]) -> None:
        """Log numbers as the run's own, by which a sweep compares its points."""
        if self._logger is not None:
            self._logger.experiment.summary.update(dict(values))

    @_never_raises
    def log_page(self, page: Path) -> None:
        """Attach a page of HTML."""
        if self._logger is not None:
            self._logger.experiment.log({page.stem: wandb.Html(str(page), inject=False)})

    def give_up(self, error: Exception) -> None:
        """Say once that tracking has ended, and where everything is."""
        self._logger = None
        reason = " ".join(str(error).split()) or type(error).__name__
        self._say(
            f"W&B: {reason}; {self._run.run_id} goes on without it, and {self._run.run_dir} keeps "
            "everything"
        )

    @_never_raises
    def _begin(self) -> None:
        with contextlib.nullcontext() if self._run.is_sweep_point else outside_of_sweeps():
            try:
                logger = self._start(self._settings.mode)
            except wandb.errors.CommError as error:
                reason = " ".join(str(error).split())
                self._say(f"W&B: {reason}; {self._run.run_id} is logged offline")
                logger = self._start("offline")
        self._logger = logger
        self._note(logger)

    def _start(self, mode: Mode | None) -> WandbLogger:
        run = self._run
        run.run_dir.mkdir(parents=True, exist_ok=True)
        # Read before the setting of the same name; otherwise it warns of what Lightning hands over.
        os.environ.setdefault("WANDB_SILENT", "true")
        logger = WandbLogger(
            name=run.run_id,
            # Inside a sweep W&B takes the agent's id and no other.
            id=tracker_id(run.run_id),
            save_dir=run.run_dir,
            project=self._settings.project,
            entity=self._settings.entity,
            group=run.group,
            job_type=run.kind,
            tags=list(run.tags),
            config=dict(run.config),
            mode=mode,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=_INIT_SECONDS,
                finish_timeout=_FINISH_SECONDS,
            ),
        )
        try:
            _ = logger.experiment
        finally:
            bound_its_end()
        return logger

    def _note(self, logger: WandbLogger) -> None:
        run = logger.experiment
        # Ranks above the first have a stand-in.
        if not isinstance(run, wandb.Run):
            return
        note = {
            "id": run.id,
            "entity": run.entity,
            "project": run.project,
            "sweep_id": run.sweep_id,
            "offline": run.offline,
            "url": None if run.offline else run.url,
        }
        if note["url"]:
            self._say(f"W&B: {note['url']}")
        write_text_atomic(self._run.run_dir / TRACKER_FILE, json.dumps(note, indent=1) + "\n")

    @_never_raises
    def _end(self, *, failed: bool, stopped: bool) -> None:
        if self._logger is None:
            return
        run, self._logger = self._logger.experiment, None
        if not isinstance(run, wandb.Run):
            return
        if stopped:
            run.mark_preempting()
        run.finish(exit_code=int(failed))
        if "WANDB_SWEEP_ID" in os.environ:
            # W&B reads the environment once; the next run of this process may be the sweep's.
            end_service()


@contextlib.contextmanager
def outside_of_sweeps() -> Iterator[None]:
    """Begin a run of its own although the agent of a sweep started this process."""
    hidden = {name: os.environ.pop(name) for name in SWEEP_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
