"""Requests to stop, as SIGTERM and SIGUSR1: they end a run where it loses nothing.

Schedulers send one of the two some time before they kill. No torch in here.
"""

import contextlib
import mmap
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

EXIT_STATUS = 75
"""Exit status of a run that was asked to stop: EX_TEMPFAIL of sysexits.h, "try again later"."""

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_SECONDS_TO_LEAVE = 0.05


class Preempted(BaseException):
    """The process was asked to stop; started again, the same command goes on.

    Like `KeyboardInterrupt` it is no error, so nothing that handles errors may swallow it.

    Args:
        signal_number: What was received.
        exit_status: What the process should end with.
    """

    def __init__(self, signal_number: int, exit_status: int = EXIT_STATUS) -> None:
        self.signal_number = signal_number
        self.exit_status = exit_status
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")


class StopRequest:
    """Remembers that a signal came, for whoever asks at a good moment.

    Attributes:
        signal_number: The first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._take = _in_this_process(self._remember)

    def listen(self) -> None:
        """Take the signals, also from a library that has put its own handlers there meanwhile."""
        _install(self._take)

    def _remember(self, signal_number: int) -> None:
        if self.signal_number is None:
            self.signal_number = signal_number


@contextlib.contextmanager
def ends_when_asked() -> Iterator[None]:
    """Raise `Preempted` in the main thread when a signal comes, wherever it is in the block.

    In a finalizer or a callback of the garbage collector Python prints what is raised and goes on;
    it is raised again then, once that has ended.
    """

    def stop(signal_number: int) -> None:
        raise Preempted(signal_number)

    with _handlers_restored(), _raised_again_if_ignored():
        _install(_in_this_process(stop))
        yield


@contextlib.contextmanager
def _raised_again_if_ignored() -> Iterator[None]:
    before = sys.unraisablehook

    def hook(ignored: Any) -> None:
        if isinstance(ignored.exc_value, Preempted):
            number = ignored.exc_value.signal_number
            # Sent from here it would come in this function, and be lost once more.
            threading.Timer(_SECONDS_TO_LEAVE, os.kill, (os.getpid(), number)).start()
        else:
            before(ignored)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def asked_at_good_moments() -> Iterator[StopRequest]:
    """Hold signals back in the block, which looks at the request itself.

    Raises:
        Preempted: At the end of the block, if a request came and the block did not act on it.
    """
    request = StopRequest()
    with _handlers_restored():
        request.listen()
        yield request
    if request.signal_number is not None:
        raise Preempted(request.signal_number)


def end_with_parent() -> None:
    """Let this process end, in the middle of whatever it does, when its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def begin_loader(worker_id: int) -> None:  # noqa: ARG001 (what DataLoader's worker_init_fn takes)
    """Let a loader process end with its parent, and not before.

    It lives on when a scheduler signals it together with its parent.

    To be called in that process: torch has put its own handler of SIGTERM there by then, which ends
    it. One that was not forked from a process that says when it ends keeps that handler.
    """
    end_with_parent()
    sys.excepthook = _say_unless_cut_off
    if os.getppid() in _endings:
        _install(_in_this_process(lambda _: None, owner=os.getppid()))


# Of this process and those it was forked from: a byte that is shared with those forked from each,
# which says whether it is about to end.
_endings: dict[int, mmap.mmap] = {}


def _announce_end() -> None:
    """Say so at exit, when Python sends SIGTERM to what was forked and waits until it ends."""
    if os.getpid() not in _endings:
        is_ending = _endings[os.getpid()] = mmap.mmap(-1, 1)
        multiprocessing.util.Finalize(None, is_ending.__setitem__, (0, 1), exitpriority=0)


def _say_unless_cut_off(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print what a loader process cannot handle, unless the run was interrupted as it asked."""
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _in_this_process(
    act: Callable[[int], None], owner: int | None = None
) -> Callable[[int, FrameType | None], None]:
    """Make a handler that acts here, and spares the loader processes forked from here.

    Schedulers signal those too, and a run whose loaders are gone cannot go on to the next step.
    They end with their parent; a second signal is meant for them.
    """
    if owner is None:
        owner = os.getpid()
        _announce_end()
    has_been_spared = False

    def handle(signal_number: int, _: FrameType | None) -> None:
        nonlocal has_been_spared
        if os.getpid() == owner:
            act(signal_number)
        elif has_been_spared or _endings[owner][0]:
            signal.signal(signal_number, signal.SIG_DFL)
            os.kill(os.getpid(), signal_number)
        has_been_spared = True

    return handle


def _install(handler: Callable[[int, FrameType | None], None]) -> None:
    # Python lets only the main thread have handlers; another one leaves things as they are.
    if threading.current_thread() is threading.main_thread():
        for signal_number in _SIGNALS:
            signal.signal(signal_number, handler)


@contextlib.contextmanager
def _handlers_restored() -> Iterator[None]:
    before = {signal_number: signal.getsignal(signal_number) for signal_number in _SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for signal_number, handler in before.items():
                # None: put there by something that is not Python, which cannot be put back.
                if handler is not None:
                    signal.signal(signal_number, handler)
