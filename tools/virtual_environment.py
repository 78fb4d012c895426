"""The environment in ``.venv``: what is in it, whether it works, and its stamp."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tools.system_packages import run

LOCK, LOCK_WITH_FFCV = "tools/locks/packages.txt", "tools/locks/packages_and_ffcv.txt"

IMPORTS = (
    "torch, torchvision, pytorch_lightning, torchmetrics, hydra, safetensors, sklearn, "
    "scipy.stats, matplotlib, rich, wandb, pytest, hypothesis, lightning_sparse"
)
COMMANDS = ("lightning-sparse", "pytest", "ruff", "mypy", "lint-imports", "wandb")


@dataclass(frozen=True)
class Environment:
    """The virtual environment of the repository in ``root``.

    Attributes:
        root: Folder of the repository.
        is_locked: Whether its packages have the versions of the lock; otherwise those that are
            there are left alone as long as ``pyproject.toml`` allows them.
    """

    root: Path
    is_locked: bool = True

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

    def notes(self) -> dict[str, str]:
        """Read the stamp: the state, and what was remembered beside it; empty if there is none."""
        with contextlib.suppress(OSError, ValueError):
            notes = json.loads(self.stamp_file.read_text())
            return notes if isinstance(notes, dict) else {}
        return {}

    def write_stamp(self, **notes: str) -> None:
        """Vouch for the environment as it is now; ``notes`` are remembered beside it."""
        notes = {**notes, "versions": self._versions, "state": self.state()}
        part = self.stamp_file.with_suffix(".part")
        part.write_text(json.dumps(notes, indent=1))
        part.replace(self.stamp_file)

    def state(self) -> str:
        """Digest all whose change calls for a repair: requirements, place, interpreter, files."""
        files = ("pyproject.toml", LOCK, LOCK_WITH_FFCV, "tools/environment.py")
        contents = [path.read_bytes() for path in map(self.root.joinpath, files) if path.is_file()]
        found = [str(self.folder.resolve()), str(self.python.resolve())]
        for pattern in ("bin/*", "lib/python3*/site-packages/*", "lib/python3*/site-packages/*/*"):
            # Bytecode comes and goes.
            paths = (path for path in self.folder.glob(pattern) if "__pycache__" not in path.parts)
            found += sorted(
                f"{path} {path.lstat().st_size} {path.lstat().st_mtime}" for path in paths
            )
        return hashlib.sha256("\0".join(found).encode() + b"\0".join(contents)).hexdigest()

    def is_ready(self) -> bool:
        """Tell whether it fits its stamp, and the stamp what is asked for."""
        notes = self.notes()
        return notes.get("state") == self.state() and notes.get("versions") == self._versions

    def works(self, imports: str = IMPORTS) -> bool:
        """Tell whether everything needed can be imported; takes some ten seconds."""
        has_all = all((self.python.parent / name).is_file() for name in COMMANDS)
        return has_all and run([self.python, "-I", "-c", f"import {imports}"], quiet=True)

    @property
    def _versions(self) -> str:
        return "locked" if self.is_locked else "free"
