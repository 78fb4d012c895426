"""Where a number comes from: commit, versions, hardware, threads, algorithms and date."""

import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import lightning_sparse

_PACKAGES = ("torchvision", "pytorch-lightning", "torchmetrics", "numpy", "scikit-learn")


def provenance() -> dict[str, Any]:
    """Describe the program and the machine, for a record."""
    return {
        **_machine(),
        "num_threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _machine() -> dict[str, Any]:
    return {
        "lightning_sparse": lightning_sparse.__version__,
        **_commit(),
        "python": platform.python_version(),
        # Only torch itself says which build it is, for example 2.14.1+cu130.
        "versions": {
            "torch": str(torch.__version__),
            **{name: _version(name) for name in _PACKAGES},
        },
        "processor": _processor(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "num_cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit() -> dict[str, Any]:
    """Read the commit of the checkout, or say that there is none."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return {"commit": None, "has_local_changes": None}
    head = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": head or None, "has_local_changes": bool(status) if head else None}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
