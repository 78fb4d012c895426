"""The hashes of a finished run's files, in the form that ``sha256sum --check`` reads. No torch."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.records import RECORD_FILE, Record, is_plain_name, to_json

HASHES_FILE = "SHA256SUMS"

_HASHED = ("*.safetensors", "*.jsonl")

_LINE = re.compile(r"(?P<hash>[0-9a-f]{64})  (?P<name>.+)")


def write_record(record: Record, run_dir: Path) -> None:
    """Write the hashes of all that the run has left so far and, last of all, its record.

    The hashes find damage and files of another run; they are no signature, since whoever can write
    the files can write the hashes too.
    """
    text = to_json(record) + "\n"
    hashes = {file.name: _sha256(file) for file in _files(run_dir)}
    hashes[RECORD_FILE] = hashlib.sha256(text.encode()).hexdigest()
    lines = [f"{value}  {name}\n" for name, value in sorted(hashes.items())]
    write_text_atomic(run_dir / HASHES_FILE, "".join(lines))
    write_text_atomic(run_dir / RECORD_FILE, text)


def has_hashes(run_dir: Path) -> bool:
    """Whether the run wrote hashes, which runs of earlier versions did not."""
    return (run_dir / HASHES_FILE).is_file()


def wrong_hashes(run_dir: Path) -> Iterator[str]:
    """Compare the files of a run with its hashes; yield one line for each that does not agree."""
    text = (run_dir / HASHES_FILE).read_text(encoding="utf-8", errors="replace")
    named = {RECORD_FILE: ""}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if not match or not is_plain_name(match["name"]):
            yield f"{HASHES_FILE}:{number}: is no hash and name of a file in this folder"
        else:
            named[match["name"]] = match["hash"]
    for name, expected in named.items():
        file = run_dir / name
        if not file.is_file():
            yield f"{name}: is missing, yet {HASHES_FILE} names it"
        elif _sha256(file) != expected:
            yield f"{name}: is not the file that the run wrote, by its hash in {HASHES_FILE}"
    for file in _files(run_dir):
        if file.name not in named:
            yield f"{file.name}: is not named in {HASHES_FILE}, so not written by this run"


def _files(run_dir: Path) -> list[Path]:
    return sorted(file for pattern in _HASHED for file in run_dir.glob(pattern))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
