"""Make, check or repair the environment in ``.venv``; needs only Python's own library.

Every make target calls this first. What a working environment looked like is written to a stamp
inside it; while the two agree nothing is run, so the call costs a tenth of a second. When they
differ, packages are installed into the same environment, and only if that does not help (or the
interpreter or pip is gone, or the folder was moved) it is removed and made anew.
"""

import sys

OLDEST_PYTHON = (3, 11)

# An older interpreter must get through this file up to here: a newer one beside it takes over.
if sys.version_info < OLDEST_PYTHON:
    import os
    import shutil
    import subprocess

    for name in ("python3.13", "python3.12", "python3.11"):
        probe = [name, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if shutil.which(name) and subprocess.call(probe, stderr=subprocess.DEVNULL) == 0:
            os.execvp(name, [name, *sys.argv])
    sys.exit(f"set-up failed: Python 3.11 or newer is needed, but python3 is {sys.version}")

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parent.parent

# A virtual environment's own interpreter vanishes while it is rebuilt, so its parent is used.
PYTHON = getattr(sys, "_base_executable", sys.executable)

IMPORTS = (
    "torch, torchvision, pytorch_lightning, torchmetrics, hydra, safetensors, sklearn, "
    "scipy.stats, matplotlib, rich, wandb, pytest, hypothesis, lightning_sparse"
)

# Each of these sends Python or pip to a place other than .venv.
FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")

Repair = Literal["nothing", "install", "rebuild"]
Heard = Literal["all", "errors", "nothing"]


class SetupError(Exception):
    """The environment cannot be made, and the message says what the user can do."""


@dataclass(frozen=True)
class TestNeed:
    """System packages without which some tests are skipped.

    Attributes:
        name: What a person calls them.
        purpose: Which tests need them.
        packages: Debian's names.
        programs: Alternatives; all programs of one of them must be there.
        folders: What must be there besides.
    """

    name: str
    purpose: str
    packages: Sequence[str]
    programs: Sequence[Sequence[str]]
    folders: Sequence[str] = ()

    def is_there(self) -> bool:
        """Tell whether one of the alternatives is installed, and what comes besides."""
        # Debian's daemons live where an ordinary user's PATH does not lead.
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        found = any(all(shutil.which(name, path=path) for name in some) for some in self.programs)
        return found and all(Path(folder).is_dir() for folder in self.folders)


TEST_NEEDS = (
    TestNeed(
        name="a browser",
        purpose="the tests of the report",
        # Whether a table fits is seen in the font that the page asks for.
        packages=("chromium", "fonts-liberation"),
        programs=(("chromium",), ("chromium-browser",), ("google-chrome",)),
        folders=("/usr/share/fonts/truetype/liberation",),
    ),
    TestNeed(
        name="SLURM",
        purpose="the tests of submission",
        packages=("slurmctld", "slurmd", "slurm-client", "munge"),
        programs=(("slurmctld", "slurmd", "sbatch", "munged"),),
    ),
)


@dataclass(frozen=True)
class Environment:
    """The virtual environment of the repository in ``root``."""

    root: Path

    @property
    def folder(self) -> Path:
        """Where the environment is."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"

    @property
    def stamp_file(self) -> Path:
        """Where the state in which it last worked is written down."""
        return self.folder / "lightning-sparse.json"

    @property
    def packages(self) -> Path:
        """The folder ``site-packages``; one that does not exist if the interpreter is gone."""
        found = sorted(self.folder.glob("lib/python3.*/site-packages"))
        return found[-1] if found else self.folder / "lib"

    def stamp(self) -> dict[str, str]:
        """Read what the environment looked like when it last worked; empty if it never did."""
        try:
            stamp = json.loads(self.stamp_file.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def observe(self) -> dict[str, str]:
        """Describe everything whose change calls for a repair, by a name that can be told."""
        return {
            "pyproject.toml": _digest(_requirements(self.root / "pyproject.toml").encode()),
            "tools/environment.py": _digest(Path(__file__).read_bytes()),
            "its place": str(self.folder.resolve()),
            "its interpreter": _describe(self.python.resolve()),
            "its packages": _digest("\n".join(_listing(self.packages, depth=2)).encode()),
            "its commands": _digest("\n".join(_listing(self.python.parent, depth=1)).encode()),
        }

    def notes(self) -> dict[str, str]:
        """Read what was remembered beside it: what could not be installed."""
        seen = self.observe()
        return {name: note for name, note in self.stamp().items() if name not in seen}

    def write_stamp(self, **notes: str) -> None:
        """Vouch for the environment as it is now; ``notes`` are remembered beside it."""
        part = self.stamp_file.with_suffix(".part")
        part.write_text(json.dumps({**self.observe(), **notes}, indent=1))
        part.replace(self.stamp_file)

    def forget_stamp(self) -> None:
        """Stop vouching before anything is touched, so that an interruption is noticed."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.stamp_file.unlink()

    def diagnose(self) -> tuple[Repair, str]:
        """Choose the smallest repair that can help, and say why."""
        if not self.folder.is_dir():
            return "rebuild", "there is no environment yet"
        if not os.access(self.python, os.X_OK):
            return "rebuild", "its interpreter is missing"
        if not (self.packages / "pip" / "__init__.py").is_file():
            return "rebuild", "its pip is missing"
        stamp = self.stamp()
        if not stamp:
            return "install", "an earlier set-up did not finish"
        changed = [name for name, seen in self.observe().items() if stamp.get(name) != seen]
        if not changed:
            return "nothing", ""
        moved = {"its place", "its interpreter"} & set(changed)
        return "rebuild" if moved else "install", f"{' and '.join(changed)} changed"

    def run(self, *arguments: str, hear: Heard = "all") -> bool:
        """Run the environment's Python, undisturbed by the caller's settings; True if it worked."""
        variables = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
        return _run([str(self.python), *arguments], cwd=self.root, env=variables, hear=hear)

    def pip(self, *arguments: str) -> bool:
        """Install with pip: its progress bars for a person, only its errors for a log."""
        options = [] if sys.stdout.isatty() else ["-qq"]
        options += ["--no-input", "--disable-pip-version-check"]
        return self.run("-m", "pip", "install", *options, *arguments)

    def can_import(self, modules: str, *, hear: Heard = "all") -> bool:
        """Tell whether ``modules``, separated by commas, can be imported."""
        return self.run("-I", "-c", f"import {modules}", hear=hear)

    def works(self, *, hear: Heard = "all") -> bool:
        """Tell whether everything needed can be imported; takes some ten seconds."""
        recent = f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
        return self.run("-I", "-c", recent, hear="nothing") and self.can_import(IMPORTS, hear=hear)


def make_ready(environment: Environment) -> None:
    """Repair what is amiss, the cheapest way first, and stamp the result."""
    repair, reason = environment.diagnose()
    if repair == "nothing":
        return
    say(f"{environment.folder}: {reason}")
    environment.forget_stamp()
    if repair == "rebuild" or not mend(environment):
        create(environment)
        if not install(environment):
            raise SetupError(_pip_failed(environment))
        if not environment.works():
            raise SetupError("the packages were installed but cannot be imported (see above)")
    environment.write_stamp(ffcv=add_ffcv(environment))
    say("the environment is ready")


def mend(environment: Environment) -> bool:
    """Install into what is there; False if only a new environment can help.

    Raises:
        SetupError: If pip fails and all else works: a missing network is no reason to throw a
            good environment away.
    """
    installed = install(environment)
    works = environment.works(hear="nothing")
    if works and not installed:
        raise SetupError(_pip_failed(environment))
    return works


def create(environment: Environment) -> None:
    """Make an empty virtual environment in the place of whatever is there."""
    for module in ("venv", "ensurepip"):
        if not _run([PYTHON, "-c", f"import {module}"], hear="nothing"):
            minor = f"python3.{sys.version_info.minor}"
            raise SetupError(
                f"this Python lacks {module}; run  sudo apt-get install -y {minor}-venv  and then "
                "the same make command again"
            )
    say(f"making {environment.folder} with Python {sys.version.split()[0]}")
    if environment.folder.is_symlink() or environment.folder.is_file():
        environment.folder.unlink()
    elif environment.folder.exists():
        shutil.rmtree(environment.folder)
    if not _run([PYTHON, "-m", "venv", str(environment.folder)]):
        raise SetupError(f"cannot make {environment.folder} (see above){_space(environment)}")


def install(environment: Environment) -> bool:
    """Install this package, editable, with all that tests and checks need."""
    say("installing the Python packages; PyTorch alone is large, so this can take minutes")
    return environment.pip("--upgrade", "pip") and environment.pip("--editable", ".[dev]")


def add_ffcv(environment: Environment) -> str:
    """Install FFCV where its system libraries are or may be had.

    Returns:
        Why it was left out, or "" if it was not.
    """
    if environment.can_import("ffcv", hear="nothing"):
        return ""
    missing = missing_libraries()
    if missing and not may_use_apt():
        reason = "it needs system libraries that this account may not install; to have it, run"
    elif missing and not apt_install(missing, purpose="FFCV"):
        reason = "its system libraries could not be installed (see above); to try again, run"
    elif not _install_ffcv(environment):
        reason = "it did not build (see above); to try again, run"
    else:
        return ""
    say(f"going on without FFCV, the fast image loader: {reason}")
    say(f"    {_apt_line(missing)} && make setup" if missing else "    make setup")
    return reason


def missing_libraries() -> list[str]:
    """List the Debian packages without which FFCV does not build here."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    present = {
        "g++": shutil.which("g++"),
        f"python3.{sys.version_info.minor}-dev": headers.is_file(),
        "pkg-config": shutil.which("pkg-config"),
        "libopencv-dev": _has_library("opencv4"),
        "libturbojpeg0-dev": _has_library("libturbojpeg"),
    }
    return [package for package, found in present.items() if not found]


def offer_test_packages(environment: Environment) -> None:
    """Install what only tests need, once, where that is allowed: a browser, and SLURM."""
    for need in TEST_NEEDS:
        notes = environment.notes()
        if need.name in notes or need.is_there():
            continue
        if may_use_apt() and apt_install(need.packages, purpose=need.purpose):
            continue
        say(f"going on without {need.name}, so its tests will be skipped; to have them, run")
        say(f"    {_apt_line(need.packages)}")
        environment.write_stamp(**{**notes, need.name: "could not be installed"})


def may_use_apt() -> bool:
    """Tell whether system packages can be installed without asking anybody for a password."""
    if shutil.which("apt-get") is None:
        return False
    return os.geteuid() == 0 or _run(["sudo", "-n", "true"], hear="nothing")


def apt_install(packages: Sequence[str], *, purpose: str) -> bool:
    """Install system packages; True if that worked."""
    say(f"installing system packages for {purpose}: {' '.join(packages)}")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    # Hundreds of lines of dpkg are progress to a person and nothing but noise in a log.
    run = functools.partial(_run, hear="all" if sys.stdout.isatty() else "errors")
    if not run([*apt, "update"]):
        return False
    return run([*apt, "install", "-y", "--no-install-recommends", *packages])


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


def check_again(environment: Environment) -> None:
    """Do not trust the stamp: import everything, and take up FFCV if it was left out."""
    say("the environment fits its stamp; importing everything to be sure")
    if not environment.works(hear="nothing"):
        environment.forget_stamp()
        make_ready(environment)
    elif environment.stamp().get("ffcv"):
        environment.write_stamp(ffcv=add_ffcv(environment))
    say("the environment is ready")


def say(message: str) -> None:
    """Print one line of progress at once, in order with what pip and apt print."""
    print(f"set-up: {message}", flush=True)


def main(arguments: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Bring the environment of ``root`` into order; the exit status is 0 if it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quiet", action="store_true", help="trust the stamp and say nothing")
    parser.add_argument(
        "--test-packages", action="store_true", help="also install what only the tests need"
    )
    options = parser.parse_args(arguments)
    environment = Environment(root)
    try:
        if environment.diagnose()[0] != "nothing":
            with exclusive(root):
                make_ready(environment)
        elif not options.quiet:
            with exclusive(root):
                check_again(environment)
        if options.test_packages:
            offer_test_packages(environment)
    except (SetupError, OSError) as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _run(
    command: Sequence[str],
    *,
    hear: Heard = "all",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> bool:
    """Run a command that may not ask anything; False if it failed or does not exist."""
    nothing = subprocess.DEVNULL
    call = functools.partial(subprocess.call, command, stdin=nothing, cwd=cwd, env=env)
    try:
        status = call(
            stdout=None if hear == "all" else nothing,
            stderr=nothing if hear == "nothing" else None,
        )
    except OSError:
        return False
    return status == 0


def _install_ffcv(environment: Environment) -> bool:
    say("building FFCV, about half a minute")
    return environment.pip("--editable", ".[dev,ffcv]") and environment.can_import("ffcv")


def _listing(folder: Path, *, depth: int) -> list[str]:
    """Name, size and time of everything in ``folder``; bytecode comes and goes and is left out."""
    lines = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    for entry in entries:
        if entry.name == "__pycache__":
            continue
        status = entry.stat(follow_symlinks=False)
        lines.append(f"{entry.name} {status.st_size} {status.st_mtime_ns}")
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            lines += _listing(Path(entry.path), depth=depth - 1)
    return lines


def _requirements(pyproject: Path) -> str:
    """The part of ``pyproject.toml`` that pip reads, without the settings of the tools."""
    tables = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    return json.dumps([tables.get("build-system"), tables.get("project")])


def _describe(file: Path) -> str:
    try:
        return f"{file} {file.stat().st_size}"
    except OSError:
        return f"{file} is missing"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _has_library(name: str) -> bool:
    return _run(["pkg-config", "--exists", name], hear="nothing")


def _apt_line(packages: Sequence[str]) -> str:
    return f"sudo apt-get update && sudo apt-get install -y {' '.join(packages)}"


def _pip_failed(environment: Environment) -> str:
    return (
        "pip could not install the packages; its own message is above. Check the network"
        f"{_space(environment)}, then run the same make command again; if that does not help, "
        "run  make clean-env  first"
    )


def _space(environment: Environment) -> str:
    free = shutil.disk_usage(environment.root).free / 1e9
    return f" and the disk ({free:.1f} GB are free, up to 8 GB are needed)"


if __name__ == "__main__":
    sys.exit(main())
