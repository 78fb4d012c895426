"""Where the files that come with the program are, and those of users and other packages."""

import functools
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import lightning_sparse
from lightning_sparse.errors import UserError

_PACKAGE = Path(lightning_sparse.__file__).resolve().parent


def shipped(name: str) -> Path:
    """Return a folder of the checkout, or its copy inside the installed package."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


CONF_DIR = shipped("conf")
SWEEPS_DIR = shipped("sweeps")


PACKAGES = "lightning_sparse.conf"
"""The group of entry points by which installed packages add choices of settings."""


def conf_folders() -> tuple[Path, ...]:
    """Return where choices of settings are looked for.

    That is ``conf/`` of the current folder, those of installed packages, and ours. A package names
    itself in its pyproject.toml, and has its own ``conf/`` beside its modules::

        [project.entry-points."lightning_sparse.conf"]
        my_package = "my_package"

    Raises:
        UserError: If the program has lost its own, or a package has none.
    """
    if not CONF_DIR.is_dir():
        raise UserError(f"no settings at {CONF_DIR}; install the program again (`make setup`)")
    others = (*_of_packages(tuple(sys.path)), CONF_DIR)
    try:
        own = Path.cwd() / "conf"
        is_other = own.is_dir() and not any(own.samefile(folder) for folder in others)
    except OSError:  # the current folder was removed, or is closed to us
        return others
    return (own, *others) if is_other else others


@functools.cache
def _of_packages(_: tuple[str, ...]) -> tuple[Path, ...]:
    points = entry_points(group=PACKAGES)
    return tuple(map(_conf_of, sorted(points, key=lambda point: point.name)))


def _conf_of(point: EntryPoint) -> Path:
    """Find the settings of a package without importing it, which may import torch."""
    spec = importlib.util.find_spec(point.value)
    for place in (spec and spec.submodule_search_locations) or ():
        if (folder := Path(place) / "conf").is_dir():
            return folder
    of = f"{point.dist.name} {point.dist.version}: " if point.dist else ""
    raise UserError(
        f"{of}its entry point {PACKAGES} names {point.value}, which has no folder conf/; install "
        "it again with its files of settings, or remove it"
    )


def choices(group: str) -> list[str]:
    """Return the names there are to choose from in a group."""
    return sorted(
        {file.stem for folder in conf_folders() for file in (folder / group).glob("*.yaml")}
    )
