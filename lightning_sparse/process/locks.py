"""One process at a time: a lock that dies with its owner, and says who that is."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning_sparse.errors import UserError


@contextlib.contextmanager
def held(lock_file: Path, when_busy: Callable[[str], None]) -> Iterator[None]:
    """Hold ``lock_file`` while the block runs, and remove it afterwards.

    Folders that were made for it go with it, if nothing else was written there.

    The lock is the kernel's, on the open file: it ends with the process that holds it, however that
    ends, so that a file left behind by a killed process stops nobody.

    Args:
        lock_file: Made if missing, with its folder.
        when_busy: Called once with the owner, for example ``process 4711 on node3``, if the lock is
            taken. It may raise; if it returns, the lock is waited for.

    Raises:
        UserError: If the file cannot be written.
    """
    made = [folder for folder in lock_file.parents if not folder.exists()]
    try:
        descriptor = _acquired(lock_file, when_busy)
    except OSError as error:
        raise UserError(
            f"cannot lock {lock_file}: {error.strerror}; choose another folder with runs_dir=..."
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _this_process().encode(), 0)
        yield
    finally:
        # Removed while it is held: whoever waits for it then finds that its file is gone, and looks
        # again.
        lock_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        os.close(descriptor)


def _this_process() -> str:
    # Folders are shared between machines, where a number alone names nobody.
    return f"process {os.getpid()} on {socket.gethostname()}"


def _acquired(lock_file: Path, when_busy: Callable[[str], None]) -> int:
    has_said = False
    while True:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            # Another process had made the folder, and has just removed it.
            continue
        try:
            if not _try_lock(descriptor):
                if not has_said:
                    when_busy(os.pread(descriptor, 512, 0).decode() or "another process")
                    has_said = True
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_still(lock_file, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(lock_file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock_file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
