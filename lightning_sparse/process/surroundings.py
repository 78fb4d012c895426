"""Where a command is started: notebooks, odd terminals, pipes, folders that are gone.

Importing it is cheap: it comes before everything else.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override

from lightning_sparse.errors import UserError


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Make what surrounds a command such that it cannot end it.

    Figures are drawn without a screen, whatever a notebook says; warnings of libraries are no
    errors, whatever ``PYTHONWARNINGS`` says; modules beside the current folder are found, as by
    ``python -m``; and what a terminal cannot show, or a reader of a pipe no longer reads, is not
    what a run of an hour ends by.

    Raises:
        UserError: If the current folder was removed.
    """
    _find_modules_here()
    # A notebook names a backend that is installed in its own environment alone.
    os.environ["MPLBACKEND"] = "agg"
    _let_warnings_be_warnings()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _sturdy(sys.stdout), _sturdy(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def _find_modules_here() -> None:
    try:
        here = str(Path.cwd())
    except OSError as error:
        raise UserError("the current folder was removed; change to one that is there") from error
    if not sys.flags.safe_path and not {"", here} & set(sys.path):
        # Last, so that nothing here hides a module of a library.
        sys.path.append(here)


def _let_warnings_be_warnings() -> None:
    if any(option.startswith("error") for option in sys.warnoptions):
        os.environ.pop("PYTHONWARNINGS", None)
        sys.warnoptions.clear()
        warnings.resetwarnings()


class _Outlet(io.FileIO):
    """A stream's file that goes on into nothing once nobody reads it any more."""

    @override
    def write(self, data: Any, /) -> int:
        """Write, or throw away."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            return len(data)


def _sturdy(stream: Any) -> Any:
    """Return a stream to the same place that shows as escapes what its encoding lacks."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # of a notebook or of a test, or closed
    try:
        file = _Outlet(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
