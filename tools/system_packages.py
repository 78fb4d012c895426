"""Debian's packages that pip and uv cannot install: what is missing, and whether apt may get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Each of these sends Python or an installer to a place other than the one that is meant.
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV")


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


def obtain(packages: Sequence[str], purpose: str) -> str:
    """Install system packages where that asks nobody for a password; return why not, or ""."""
    if not packages:
        return ""
    if not may_use_apt():
        return "it needs system packages that this account may not install"
    say(f"installing system packages for {purpose}: {' '.join(packages)}")
    return "" if _apt_install(packages) else "its system packages could not be installed"


def obtain_for_tests(notes: Mapping[str, str]) -> dict[str, str]:
    """Install what only tests need: a browser, and SLURM.

    Args:
        notes: By name, what was tried before and is not tried again.

    Returns:
        The same of what was tried now and is not there.
    """
    missing = {}
    for need in TEST_NEEDS:
        if need.name in notes or need.is_there():
            continue
        if reason := obtain(need.packages, need.purpose):
            missing[need.name] = reason
            say(f"going on without {need.name}, so its tests will be skipped; to have them, run")
            say(f"    {apt_line(need.packages)}")
    return missing


def say(message: str) -> None:
    """Print one line of progress at once, in order with what uv and apt print."""
    print(f"set-up: {message}", flush=True)


def may_use_apt() -> bool:
    """Tell whether system packages can be installed without asking anybody for a password."""
    if shutil.which("apt-get") is None:
        return False
    return os.geteuid() == 0 or run(["sudo", "-n", "true"], quiet=True)


def _apt_install(packages: Sequence[str]) -> bool:
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    # Hundreds of lines of dpkg are progress to a person and nothing but noise in a log.
    stdout = None if sys.stdout.isatty() else subprocess.DEVNULL
    return run([*apt, "update"], stdout=stdout) and run(
        [*apt, "install", "-y", "--no-install-recommends", *packages], stdout=stdout
    )


def apt_line(packages: Sequence[str]) -> str:
    """Write what a person with the right to it would type."""
    return f"sudo apt-get update && sudo apt-get install -y {' '.join(packages)}"


def _has_library(name: str) -> bool:
    return run(["pkg-config", "--exists", name], quiet=True)


def run(
    command: Sequence[str | Path],
    *,
    quiet: bool = False,
    stdout: int | None = None,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> bool:
    """Run a command that may not ask anything; False if it failed or does not exist.

    Args:
        command: Its words.
        quiet: Whether nothing it says is to be seen.
        stdout: Where its output goes, errors apart.
        cwd: Folder to run it in.
        variables: Environment variables besides.
    """
    nothing = subprocess.DEVNULL
    env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    try:
        return not subprocess.call(
            [str(word) for word in command],
            stdin=nothing,
            stdout=nothing if quiet else stdout,
            stderr=nothing if quiet else None,
            cwd=cwd,
            env={**env, **(variables or {})},
        )
    except OSError:
        return False
