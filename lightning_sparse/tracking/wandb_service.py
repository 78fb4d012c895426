"""W&B's service, the process beside ours that talks to the server: it may not keep ours alive.

W&B waits for it at exit without a limit, and one whose server is gone has been seen not to end.
"""

import atexit
import functools
import threading

import wandb

_SECONDS = 30

_asked, _ended = threading.Event(), threading.Event()


def bound_its_end() -> None:
    """See that this process ends soon although the service does not; call it once it runs.

    The service sees when its parent is gone, and ends then; what it has not sent stays on disk.
    """
    _start_waiting()
    # The last one registered is the first to run: before W&B's own, which it makes unnecessary.
    atexit.unregister(_end_in_time)
    atexit.register(_end_in_time)


def end_service() -> None:
    """End the service now, or leave it alone if it does not end; the next run starts another."""
    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(_SECONDS)


@functools.cache
def _start_waiting() -> None:
    """Start the thread that will end the service: from Python 3.12 on none can start at exit."""

    def end_when_asked() -> None:
        _asked.wait()
        wandb.teardown()
        _ended.set()

    threading.Thread(target=end_when_asked, daemon=True).start()


def _end_in_time() -> None:
    _asked.set()
    _ended.wait(_SECONDS)
