"""Make or repair the environment in ``.venv`` from the lock, by uv; needs only Python's library.

Every make target calls this first. A stamp in the environment says what it looked like when it last
worked; while the two agree nothing is run, so the call costs a tenth of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# An isolated Python does not look there.
sys.path.insert(0, str(REPOSITORY))

from tools import system_packages
from tools.system_packages import run, say
from tools.virtual_environment import LOCK, LOCK_WITH_FFCV, Environment

# What pip was told about networks here, by the names under which uv has to be told.
OF_PIP = {"index-url": "DEFAULT_INDEX", "trusted-host": "INSECURE_HOST"}


class SetupError(Exception):
    """The environment cannot be made, and the message says what the user can do."""


def make_ready(environment: Environment) -> None:
    """Install what is missing; if that does not help, make the environment anew.

    Raises:
        SetupError: If neither helps. An environment is not thrown away for want of a network.
    """
    uv = find_uv(environment)
    # Before anything is touched, so that an interruption is noticed.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        environment.stamp_file.unlink()
    if not run([environment.python, "-I", "-c", "import sys"], quiet=True):
        create(environment, uv)
    say("installing the Python packages; PyTorch alone is large, so this can take minutes")
    if not install(environment, uv):
        raise SetupError(_failed(environment))
    if not environment.works():
        say("its packages cannot be imported; making it anew, without what uv keeps of them")
        create(environment, uv)
        if not install(environment, [*uv, "--no-cache"]) or not environment.works():
            raise SetupError(_failed(environment))
    environment.write_stamp(ffcv=add_ffcv(environment, uv))


def find_uv(environment: Environment) -> list[str]:
    """Return the command of uv: the user's own, or one that is installed beside ``.venv``."""
    python = environment.root / ".uv" / "bin" / "python"
    if found := shutil.which("uv"):
        return [found]
    if not run([python, "-m", "uv", "--version"], quiet=True):
        say("installing uv, which installs the rest")
        if not run([sys.executable, "-m", "venv", "--clear", python.parent.parent]):
            raise SetupError(
                "python3 cannot make a virtual environment (see above); install uv, or run  sudo "
                f"apt-get install -y python3.{sys.version_info[1]}-venv , and then make again"
            )
        if not run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"]):
            raise SetupError(_failed(environment))
    return [str(python), "-m", "uv"]


def create(environment: Environment, uv: Sequence[str]) -> None:
    """Make an empty virtual environment in the place of whatever is there."""
    if environment.folder.is_symlink() or environment.folder.is_file():
        environment.folder.unlink()
    # The first Python that pyproject.toml allows: the one that runs this may be older.
    options = ["--clear", "--relocatable", "--python-preference", "system"]
    if not run([*uv, "venv", "-q", *options, environment.folder], cwd=environment.root):
        raise SetupError(f"cannot make {environment.folder} (see above){_space(environment)}")


def install(
    environment: Environment, uv: Sequence[str], lock: str = LOCK, extras: str = "dev"
) -> bool:
    """Install this package, editable, with all that tests and checks need."""
    steps: list[list[str]] = [["--editable", f".[{extras}]"]]
    if environment.is_locked:
        steps = [
            ["--require-hashes", "-r", lock],
            ["--no-deps", "--editable", "."],
        ]
    command = [*uv, "pip", "install", "--python", str(environment.python)]
    if not sys.stdout.isatty():
        command.append("-q")
    variables = told_to_pip()
    return all(run([*command, *step], cwd=environment.root, variables=variables) for step in steps)


def add_ffcv(environment: Environment, uv: Sequence[str]) -> str:
    """Install FFCV where its system libraries are or may be had; return why not, or ""."""
    if environment.works("ffcv"):
        return ""
    missing = system_packages.missing_libraries()
    reason = system_packages.obtain(missing, "FFCV")
    if not reason:
        say("building FFCV, about half a minute")
        if install(environment, uv, LOCK_WITH_FFCV, "dev,ffcv") and environment.works("ffcv"):
            return ""
        reason = "it did not build (see above)"
    say(f"going on without FFCV, the fast image loader: {reason}; to have it, run")
    say(f"    {system_packages.apt_line(missing)} && make setup" if missing else "    make setup")
    return reason


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Let one set-up at a time work in ``root``; a second one waits for the first."""
    with (root / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is setting up; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Bring the environment of ``root`` into order; the exit status is 0 if it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quiet", action="store_true", help="trust the stamp and say nothing")
    parser.add_argument(
        "--versions", choices=["locked", "free"], help="remembered; locked at first"
    )
    parser.add_argument("--test-packages", action="store_true", help="what only tests need, too")
    options = parser.parse_args(arguments)
    try:
        versions = options.versions or Environment(root).notes().get("versions", "locked")
        environment = Environment(root, is_locked=versions == "locked")
        if not environment.is_ready() or not options.quiet:
            with exclusive(root):
                bring_up_to_date(environment)
        if options.test_packages:
            notes = environment.notes()
            if missing := system_packages.obtain_for_tests(notes):
                environment.write_stamp(**{**notes, **missing})
    except (SetupError, OSError) as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def bring_up_to_date(environment: Environment) -> None:
    """Make it ready unless it is, which is tried out; take up FFCV if it was left out."""
    if not environment.is_ready() or not environment.works():
        make_ready(environment)
    elif environment.notes().get("ffcv"):
        environment.write_stamp(ffcv=add_ffcv(environment, find_uv(environment)))
    say("the environment is ready")


def told_to_pip() -> dict[str, str]:
    """Return, as variables for uv, what pip is told here of indexes; uv reads none of its files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    told = dict(re.findall(r"^(?:global|install|user)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    # Read here, not from pip's list: a Python without pip has the variables all the same.
    variables = {name: os.environ.get(f"PIP_{name.upper().replace('-', '_')}") for name in OF_PIP}
    told |= {name: value for name, value in variables.items() if value}
    return {
        f"UV_{of_uv}": told[name]
        for name, of_uv in OF_PIP.items()
        if name in told and f"UV_{of_uv}" not in os.environ
    }


def _failed(environment: Environment) -> str:
    return (
        "the packages could not be installed; uv's own message is above. Check the network"
        f"{_space(environment)}, then run the same make command again; if that does not help, "
        "run  make clean-env  first"
    )


def _space(environment: Environment) -> str:
    free = shutil.disk_usage(environment.root).free / 1e9
    return f" and the disk ({free:.1f} GB are free, up to 8 GB are needed)"


if __name__ == "__main__":
    sys.exit(main())
