"""Where the files that come with the program are, and a user's own beside them."""

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


def conf_folders() -> tuple[Path, ...]:
    """Return where choices of settings are looked for: ``conf/`` of the current folder, and ours.

    Raises:
        UserError: If the program has lost its own.
    """
    if not CONF_DIR.is_dir():
        raise UserError(f"no settings at {CONF_DIR}; install the program again (`make setup`)")
    try:
        own = Path.cwd() / "conf"
        is_other = own.is_dir() and not own.samefile(CONF_DIR)
    except OSError:  # the current folder was removed, or is closed to us
        return (CONF_DIR,)
    return (own, CONF_DIR) if is_other else (CONF_DIR,)


def choices(group: str) -> list[str]:
    """Return the names there are to choose from in a group."""
    return sorted(
        {file.stem for folder in conf_folders() for file in (folder / group).glob("*.yaml")}
    )
