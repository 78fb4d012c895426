"""Worker processes: each runs one job after another, dies with its parent, and is seen to die."""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.pipeline.jobs import AnyJob, Job
from lightning_sparse.pipeline.places import Place
from lightning_sparse.process.preemption import Preempted, end_with_parent, ends_when_asked

Report = Callable[[int, int], None]
Execute = Callable[[AnyJob, Report | None], str]
"""Runs one job, reporting steps done and steps in all, and says in a few words what came out."""

First = Callable[[], None]
"""What is done once, before any job; it travels to another process."""


_STOPPED = 128 + signal.SIGTERM  # exit status, as a shell would give it
# A process that is stopped finishes its step and writes a checkpoint first.
_SECONDS_TO_STOP = 60


@dataclass(frozen=True, kw_only=True)
class Advance:
    """A job that runs has done some of its steps."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A job has ended.

    Plain text: an exception of any library may fail to travel between processes.

    Attributes:
        summary: What came out.
        error: Why nothing came out.
        trace: Traceback of an error that is not the user's to mend.
        diverged: Whether it was that weights or losses left the finite numbers.
    """

    summary: str = ""
    error: str | None = None
    trace: str | None = None
    diverged: bool = False


class Workers:
    """As many processes as there are jobs at once; each imports what it needs once.

    A context manager: when it is left, no process stays behind.

    Args:
        execute: A function of a module, so that the processes find it.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._idle: list[_Worker] = []
        self._running: dict[_Worker, AnyJob] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        workers = [*self._idle, *self._running]
        for worker in workers:
            worker.ask_to_stop(is_busy=worker in self._running)
        for worker in workers:
            worker.stop()

    @property
    def running(self) -> list[AnyJob]:
        """The jobs that have begun and not ended."""
        return list(self._running.values())

    @property
    def places(self) -> list[Place]:
        """Where they run."""
        return [worker.place for worker in self._running]

    def place_of(self, job: AnyJob) -> Place:
        """Where a running job is."""
        return next(worker.place for worker, running in self._running.items() if running is job)

    def start(self, job: AnyJob, place: Place) -> None:
        """Begin a job at ``place``, in a process that is free there, or in a new one."""
        worker = next((idle for idle in self._idle if idle.place == place), None)
        if worker is None:
            worker = _Worker(self._execute, place)
        else:
            self._idle.remove(worker)
        self._running[worker] = job
        worker.begin(job)

    def do_first(self, first: First, place: Place) -> Outcome:
        """Do something before any job, in a process that then waits for the first of them."""
        worker = _Worker(self._execute, place)
        try:
            worker.begin(first)
            outcome = worker.receive()
        except BaseException:
            worker.ask_to_stop(is_busy=True)
            worker.stop()
            raise
        assert isinstance(outcome, Outcome)
        if worker.is_alive:
            self._idle.append(worker)
        return outcome

    def wait(self, seconds: float) -> Iterator[tuple[AnyJob, Advance | Outcome]]:
        """Yield what running jobs have sent, after waiting for it for at most ``seconds``."""
        by_connection = {worker.connection: worker for worker in self._running}
        for ready in multiprocessing.connection.wait(list(by_connection), seconds):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            job, message = self._running[worker], worker.receive()
            if isinstance(message, Outcome):
                del self._running[worker]
                if worker.is_alive:
                    self._idle.append(worker)
            yield job, message


class _Worker:
    """One process and the connection to it."""

    def __init__(self, execute: Execute, place: Place) -> None:
        self.place = place
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, execute, place))
        with _without_interrupts():
            self._process.start()
        theirs.close()
        self.is_alive = True

    def begin(self, work: AnyJob | First) -> None:
        # If the process has died meanwhile, that is found when its answer is read.
        with contextlib.suppress(OSError):
            self.connection.send(work)

    def receive(self) -> Advance | Outcome:
        """Read one message; the end of the process is an outcome too."""
        try:
            message: Advance | Outcome = self.connection.recv()
        except (EOFError, OSError):
            self.is_alive = False
            self.stop()
            return Outcome(error=_describe_death(self._process.exitcode))
        return message

    def ask_to_stop(self, *, is_busy: bool) -> None:
        """Close the connection, which ends a process that waits for a job, or end it outright."""
        self.connection.close()
        if is_busy:
            self._process.terminate()

    def stop(self) -> None:
        """Wait for the process to end, but not for ever."""
        self._process.join(timeout=_SECONDS_TO_STOP)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _describe_death(exit_code: int | None) -> str:
    how = f"exit status {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = signal.Signals(-exit_code).name
    return (
        f"its process was killed ({how}), perhaps for want of memory; start the same command again "
        "to go on, with reproduce.num_processes=1 (sweep.num_processes=1) if it happens again"
    )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C: a process started in here never sees it, since only the parent answers."""
    # Started first, because its start would let the signal through again.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, execute: Execute, place: Place) -> None:
    """Do what arrives until the connection is closed."""
    # Read by CUDA when it is first used, which is after this.
    os.environ.update(place.variables)
    # What it writes, it writes whole.
    end_with_parent()
    while True:
        try:
            work = connection.recv()
        except (EOFError, OSError):
            # Closed by the parent, or reset because it was killed.
            return
        try:
            with ends_when_asked():
                outcome = _outcome(connection, execute, work)
            connection.send(outcome)
        except Preempted as preempted:
            sys.exit(preempted.exit_status)
        except (OSError, SystemExit, KeyboardInterrupt):
            # Stopped by the parent, which has closed the connection; Lightning makes an exception
            # of the signal, and nobody is left to read about it.
            sys.exit(_STOPPED)


def _outcome(connection: Connection, execute: Execute, work: AnyJob | First) -> Outcome:
    def report(done: int, total: int) -> None:
        connection.send(Advance(done=done, total=total))

    try:
        if isinstance(work, Job):
            return Outcome(summary=execute(work, report))
        work()
        return Outcome()
    except UserError as error:
        return Outcome(error=str(error), diverged=isinstance(error, DivergedError))
    except Exception as error:  # noqa: BLE001 (whatever it is, the other jobs go on)
        return Outcome(error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
