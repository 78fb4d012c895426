"""Fashion-MNIST (Xiao et al. 2017) out of the package of Debian and Ubuntu that carries it.

https://packages.debian.org/dataset-fashion-mnist: 31 MB, MIT licence, four files compressed by
gzip. Getting and unpacking it needs no rights but to write.
"""

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lightning_sparse.errors import UserError, as_line

PACKAGE = "dataset-fashion-mnist"

MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
"""Of the files as they are uncompressed."""

_OTHERWISE = (
    "or put the four files of https://github.com/zalandoresearch/fashion-mnist (data/fashion), "
    "compressed or not, into a folder, and name it with data.root=<folder>"
)
_SECONDS = 600


def is_fetched(folder: Path) -> bool:
    """Tell whether the folder holds all four files as they were published."""
    return all(
        (folder / name).is_file() and _md5((folder / name).read_bytes()) == md5
        for name, md5 in MD5.items()
    )


def fetch_fashion(folder: Path) -> None:
    """Download the package by apt, and leave its four files uncompressed in ``folder``.

    Raises:
        UserError: If there is no apt or no network, the package does not hold the published files.
        OSError: If the folder cannot be written.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UserError(
                f"no {program} here, by which the package {PACKAGE} of Debian and Ubuntu is "
                f"fetched; do it on a machine that has it, {_OTHERWISE}"
            )
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as name:
        unpacked = _unpacked_package(Path(name))
        contents = {file: _published(unpacked, file) for file in MD5}
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        part = folder / f".{file}.part"
        part.write_bytes(content)
        part.replace(folder / file)


def _unpacked_package(folder: Path) -> Path:
    # As root, apt would rather download as a user of its own, who may not write here.
    options = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1"]
    _run(["apt-get", "-q", *options, "download", PACKAGE], folder)
    packages = list(folder.glob("*.deb"))
    if len(packages) != 1:
        raise UserError(f"apt-get download {PACKAGE} left no package; try again, {_OTHERWISE}")
    _run(["dpkg-deb", "-x", packages[0].name, "unpacked"], folder)
    return folder / "unpacked"


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 (fixed words)
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", check=False, timeout=_SECONDS,
    )  # fmt: skip
    if done.returncode:
        said = as_line((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0])
        raise UserError(
            f"{' '.join(word for word in command if '::' not in word and word not in {'-o', '-q'})}"
            f": {said}; `apt-get update` first where apt knows no packages, see whether there is a "
            f"network, {_OTHERWISE}"
        )


def _published(unpacked: Path, name: str) -> bytes:
    files = list(unpacked.rglob(f"{name}.gz"))
    if not files:
        raise UserError(f"the package {PACKAGE} holds no {name}.gz; {_OTHERWISE[3:]}")
    content = gzip.decompress(files[0].read_bytes())
    if (md5 := _md5(content)) != MD5[name]:
        raise UserError(
            f"{name} of the package {PACKAGE} is not as it was published: its MD5 is {md5}, not "
            f"{MD5[name]}; try again, {_OTHERWISE}"
        )
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
