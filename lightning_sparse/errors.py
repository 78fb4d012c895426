"""The one exception that reaches the user as a sentence instead of a traceback, and its form."""

import contextlib
import errno
from collections.abc import Iterator


class UserError(Exception):
    """Something the user asked for cannot be done, and the message says how to mend it.

    The command line prints the message alone and exits with status 2. Raise it for what the user
    can mend (a field, a file, a missing data set); let every other exception keep its traceback.
    A good message names the field, its value and the remedy::

        raise UserError(f"sparsity={value}: must lie in [0, 1); try sparsity=0.98")
    """


class DivergedError(UserError):
    """Training left the finite numbers or came to a stop; of settings that are tried, an answer."""


class NotHereError(UserError):
    """Files that are not on this machine; the one that a run is submitted to may have them."""


def is_not_here(error: BaseException) -> bool:
    """Tell whether an error comes of files that are not there, by itself or by its causes.

    Example:
        >>> is_not_here(NotHereError("no images at data/train"))
        True
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, NotHereError | FileNotFoundError):
        cause = cause.__cause__
    return cause is not None


@contextlib.contextmanager
def theirs(what: str, remedy: str = "") -> Iterator[None]:
    """Run code that is not ours: whatever it raises becomes one line that says whose it is.

    For a user's network, data set or settings, and for a library that is given a user's words.
    `UserError` passes as it is, and so does lack of memory, which is answered elsewhere. The cause
    is kept: ``LIGHTNING_SPARSE_TRACEBACK=1`` shows it.

    Args:
        what: Whose code it is, as the user named it: ``model._target_=my_package.Net``.
        remedy: What the user can do about it, if more can be said than the error says.

    Raises:
        UserError: With type and message of whatever was raised.

    Example:
        >>> with theirs("data._target_=mine.build"):
        ...     raise KeyError("train")
        Traceback (most recent call last):
            ...
        lightning_sparse.errors.UserError: data._target_=mine.build: KeyError: 'train'
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"{what}: {in_short(error)}{f'; {remedy}' if remedy else ''}") from error


def in_short(error: BaseException) -> str:
    """Say type and message of an error in at most a few hundred characters.

    Example:
        >>> in_short(ValueError("no such row"))
        'ValueError: no such row'
    """
    text = " ".join(str(error).split())
    shown = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


_LONGEST_MESSAGE = 300


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory, of the machine or of a device, was not enough.

    Torch has a class for this on accelerators alone; here it goes by its name, without torch.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


_REMEDIES = {
    errno.EACCES: "see who owns it and what its owner allows, or choose another folder",
    errno.EPERM: "see who owns it and what its owner allows, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "it is a link to itself",
    errno.ENOTDIR: "a part of it is a file; choose another folder",
}


def is_the_users(error: OSError) -> bool:
    """Whether what the system refused is a file or a folder that the user can do something about.

    Example:
        >>> is_the_users(OSError(errno.EACCES, "Permission denied", "runs"))
        True
    """
    return error.errno in _REMEDIES and error.filename is not None


def of_file(error: OSError) -> str:
    """Say which file, what the system says of it, and what can be done.

    Example:
        >>> of_file(OSError(errno.EROFS, "Read-only file system", "runs"))
        'runs: Read-only file system; choose another folder'
    """
    remedy = _REMEDIES.get(error.errno or 0, "choose another folder")
    return f"{error.filename}: {error.strerror}; {remedy}"


def as_line(text: str) -> str:
    r"""Return ``text`` as one line that is safe to show: nothing in it can steer a terminal.

    Messages quote file names and records, which may be a stranger's.

    Example:
        >>> as_line("two\n  lines, \x1b[31mred")
        'two lines, \\x1b[31mred'
    """
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)
