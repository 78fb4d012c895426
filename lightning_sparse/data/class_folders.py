"""Which image files lie in which class folder: torchvision's layout, with its surprises named."""

import contextlib
import errno
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.folder import is_image_file

from lightning_sparse.errors import UserError, as_line

_NUM_NAMED = 3


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """The images of one part of a data set.

    Attributes:
        classes: Names of the class folders, sorted; a class is its place in here.
        samples: File and class of every image, class by class, sorted within it by folder and name.
    """

    classes: list[str]
    samples: list[tuple[str, int]]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)


def list_class_folders(folder: Path) -> ClassFolders:
    """List the images under the class folders of ``folder``, in the order of torchvision.

    Hidden files and folders, which programs and not people make, are left out, and a warning says
    so. Links are followed, but not round in circles.

    Raises:
        UserError: If a class folder holds no image, or cannot be read.
    """
    hidden: list[str] = []
    folders, _ = _entries(folder, hidden)
    samples: list[tuple[str, int]] = []
    for label, class_folder in enumerate(folders):
        files = sorted(_images(class_folder, hidden, frozenset()), key=os.path.split)
        if not files:
            raise UserError(
                f"{as_line(str(class_folder))}: holds no image; remove empty class folders or fill "
                "them"
            )
        samples += [(file, label) for file in files]
    if hidden:
        more = f" and {len(hidden) - _NUM_NAMED} more" if len(hidden) > _NUM_NAMED else ""
        warnings.warn(
            f"left out, since their names are hidden: {', '.join(hidden[:_NUM_NAMED])}{more}",
            stacklevel=2,
        )
    return ClassFolders([path.name for path in folders], samples)


def _images(folder: Path, hidden: list[str], above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the image files in a folder and inside of it, but not again those ``above``."""
    with told_if_unreadable(folder):
        status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    folders, files = _entries(folder, hidden)
    yield from files
    for path in folders:
        yield from _images(path, hidden, above | {here})


def _entries(folder: Path, hidden: list[str]) -> tuple[list[Path], list[str]]:
    """List the folders and the images in a folder, sorted; hidden ones go to ``hidden`` instead."""
    folders: list[str] = []
    files: list[str] = []
    # The listing alone tells which are folders: there may be millions of files.
    with told_if_unreadable(folder), os.scandir(folder) as entries:
        for entry in entries:
            (folders if _is_folder(entry) else files).append(entry.path)
    images = list(filter(is_image_file, files))
    hidden += [as_line(path) for path in sorted(folders + images) if _is_hidden(path)]
    return [Path(path) for path in _shown(folders)], _shown(images)


@contextlib.contextmanager
def told_if_unreadable(folder: Path) -> Iterator[None]:
    """Turn what keeps the block from reading ``folder`` into one line.

    Raises:
        UserError: Naming the folder and the reason.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{as_line(str(folder))}: cannot be read ({error.strerror}); make it readable for the "
            "user that this runs as, or remove it"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _shown(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if not _is_hidden(path))


def _is_hidden(path: str) -> bool:
    return path.rpartition(os.sep)[2].startswith(".")
