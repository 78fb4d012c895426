"""Files on disk: written aside, synced and renamed, so that a reader sees all of a file or none.

No torch in here, so that the report can write its pages without it.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from lightning_sparse.errors import UserError


def write_bytes_atomic(file: Path, data: bytes) -> None:
    """Write ``data`` to ``file`` so that an interruption leaves the old file or the new one.

    Raises:
        UserError: If the folder cannot be written or the disk is full; the old file is untouched.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=file.parent, prefix=f".{file.name}.", suffix=".part"
        )
    except OSError as error:
        raise _not_written(file, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(file)
    except OSError as error:
        raise _not_written(file, error) from error
    finally:
        Path(name).unlink(missing_ok=True)
    _sync_folder(file.parent)


def write_text_atomic(file: Path, text: str) -> None:
    """Write ``text`` as UTF-8; see `write_bytes_atomic`."""
    write_bytes_atomic(file, text.encode("utf-8"))


def _not_written(file: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {file}: {error.strerror or error}; free some space or choose another folder "
        "with runs_dir=..., then start the same command again"
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system lets folders be synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
