"""Files on disk: written aside, synced and renamed, so that a reader sees all of a file or none.

No torch in here, so that the report can write its pages without it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_sparse.errors import UserError, is_out_of_memory


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


MANIFEST_FILE = "manifest.json"
"""In a folder written by `write_folder_atomic`: what is in it, with a hash of everything."""


class DamagedError(UserError):
    """A folder does not hold what its manifest says."""


def write_folder_atomic(folder: Path, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
    """Write ``files`` and a manifest into a new ``folder``, which appears whole or not at all.

    Args:
        folder: Must not exist, unless as what an earlier call left there, which is replaced.
        files: Contents by name.
        facts: What else the manifest says, as JSON.

    Raises:
        UserError: If the folder cannot be written or the disk is full.
    """
    part = folder.with_name(f".{folder.name}.part")
    manifest: dict[str, Any] = {
        "facts": dict(facts),
        "files": {
            name: {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    manifest["sha256"] = _digest(manifest)
    try:
        remove_folder(part)
        part.mkdir(parents=True)
        text = json.dumps(manifest, indent=1) + "\n"
        for name, data in {**files, MANIFEST_FILE: text.encode("utf-8")}.items():
            with (part / name).open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        _sync_folder(part)
        remove_folder(folder)
        part.rename(folder)
    except OSError as error:
        raise _not_written(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _sync_folder(folder.parent)


def read_facts(folder: Path) -> dict[str, Any]:
    """Read what a folder's manifest says of it besides its files.

    Raises:
        DamagedError: If there is no manifest or it is not as it was written.
    """
    return dict(_manifest(folder)["facts"])


def verify_folder(folder: Path) -> None:
    """Compare every file of a folder with its hash in the manifest.

    Raises:
        DamagedError: Naming the first that is missing or differs.
    """
    for name, expected in _manifest(folder)["files"].items():
        file = folder / name
        if not file.is_file():
            raise DamagedError(f"{file} is missing")
        num_bytes = file.stat().st_size
        if num_bytes != expected["num_bytes"]:
            raise DamagedError(
                f"{file} has {num_bytes} bytes, {expected['num_bytes']} were written"
            )
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != expected["sha256"]:
                raise DamagedError(f"{file} is not as it was written: its SHA-256 differs")


@contextlib.contextmanager
def told_if_not_written(place: Path, remedy: str) -> Iterator[None]:
    """Turn what keeps the block from writing to ``place`` into one line that ends with a remedy.

    Raises:
        UserError: If the folder cannot be written or the disk is full.
    """
    try:
        yield
    except OSError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"cannot write {error.filename or place}: {error.strerror or error}; {remedy}"
        ) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder and what is in it; one that is not there is removed already."""
    # Renamed first, so that an interruption leaves no folder that lacks some of its files.
    doomed = folder.with_name(f".{folder.name}.doomed.part")
    shutil.rmtree(doomed, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(doomed)
        shutil.rmtree(doomed)


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST_FILE
    try:
        manifest = json.loads(file.read_bytes())
        is_whole = manifest.pop("sha256") == _digest(manifest)
    except FileNotFoundError as error:
        raise DamagedError(f"{file} is missing") from error
    except (ValueError, KeyError, AttributeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise DamagedError(f"{file} is not as it was written")
    return dict(manifest)


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode("utf-8")).hexdigest()


def _not_written(file: Path, error: OSError) -> UserError:
    room = "free some space or " if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    return UserError(
        f"cannot write {file}: {error.strerror or error}; {room}choose another folder "
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
