"""Mid-run checkpoints: a run that was killed goes on, and ends as if nothing had happened."""

import hashlib
import io
import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.utilities import rank_zero_only
from torch import distributed, nn

from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import (
    DamagedError,
    read_facts,
    remove_folder,
    verify_folder,
    write_folder_atomic,
)
from lightning_sparse.process.preemption import (
    EXIT_STATUS,
    Preempted,
    StopRequest,
    asked_at_good_moments,
)
from lightning_sparse.training.after_step import AfterStepCallback
from lightning_sparse.training.gradient_buckets import settle_gradient_buckets
from lightning_sparse.training.ranks import gathered
from lightning_sparse.training.settings import CheckpointSettings
from lightning_sparse.training.trainer import fit, quiet_trainer

CHECKPOINTS_DIR = "checkpoints"

_FORMAT = 3
_STATE_FILE = "state.pt"
_NUM_KEPT = 2
# Ranks ask each other every so many optimizer steps; a single process looks at every step.
_STEPS_BETWEEN_VOTES = 10

_log = logging.getLogger(__name__)


def describe_network(network: nn.Module) -> str:
    """Name an architecture: its class, and a hash of the names and shapes in its state dict."""
    shapes = [[name, list(tensor.shape)] for name, tensor in network.state_dict().items()]
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()
    return f"{type(network).__name__} {digest[:12]}"


class RunCheckpoints(CheckpointIO):
    """The checkpoints of one run: folders that appear whole, are verified, and hold no code.

    Lightning writes and reads through this class.

    Args:
        run_dir: The run's folder.
        settings: When they are written, and whether the last one is kept; None for the defaults.
        identity: Texts that must agree between the run that wrote a checkpoint and the one that
            resumes from it, by name.
    """

    def __init__(
        self, run_dir: Path, settings: CheckpointSettings | None, identity: Mapping[str, str]
    ) -> None:
        self.folder = run_dir / CHECKPOINTS_DIR
        self.settings = settings or CheckpointSettings()
        self._identity = {**identity, "format": str(_FORMAT)}
        self._usable: list[Path] = []

    def at(self, step: int) -> Path:
        """Return where the checkpoint after ``step`` optimizer steps belongs."""
        return self.folder / f"step_{step}"

    def newest(self) -> Path | None:
        """Find the newest checkpoint that is as it was written; name those passed over.

        Raises:
            UserError: If it was written by another run, or by one that differs.
        """
        for checkpoint in sorted(self.folder.glob("step_*"), key=_step, reverse=True):
            try:
                verify_folder(checkpoint)
            except DamagedError as error:
                _pass_over(checkpoint, error)
                continue
            self._check_identity(checkpoint)
            self._usable = [checkpoint]
            return checkpoint
        return None

    def finish(self) -> None:
        """Remove the checkpoints of a run whose record is written, unless they are to be kept."""
        if not self.settings.keep:
            remove_folder(self.folder)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint; then remove all but the newest two that can be used."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        facts = {**self._identity, "step": checkpoint["global_step"]}
        write_folder_atomic(Path(path), {_STATE_FILE: buffer.getvalue()}, facts)
        self._usable = [*(item for item in self._usable if item != Path(path)), Path(path)]
        self._usable = self._usable[-_NUM_KEPT:]
        for other in self.folder.glob("step_*"):
            if other not in self._usable:
                remove_folder(other)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,
        weights_only: bool | None = None,  # noqa: FBT001 (Lightning's)
    ) -> dict[str, Any]:
        """Read tensors and plain values; whatever else is in the file is not run.

        Raises:
            UserError: If there is anything else in it.
        """
        file = Path(path) / _STATE_FILE
        try:
            loaded: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except (UnpicklingError, RuntimeError, EOFError) as error:
            raise UserError(
                f"{file} holds more than tensors and plain values, so it is not loaded; remove "
                f"{self.folder} to start the run from its beginning"
            ) from error
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Remove one checkpoint."""
        remove_folder(Path(path))

    def _check_identity(self, checkpoint: Path) -> None:
        facts = read_facts(checkpoint)
        for name, ours in self._identity.items():
            if facts.get(name) != ours:
                raise UserError(
                    f"{checkpoint} was written with {name} {facts.get(name)!r}, this run has "
                    f"{ours!r}; remove {self.folder} to start the run from its beginning"
                )


def _step(checkpoint: Path) -> int:
    digits = checkpoint.name.removeprefix("step_")
    return int(digits) if digits.isdecimal() else -1


@rank_zero_only
def _pass_over(checkpoint: Path, error: DamagedError) -> None:
    _log.warning("passing over the checkpoint %s: %s", checkpoint, error)


class CheckpointCallback(AfterStepCallback):
    """Writes checkpoints after optimizer steps: now and then, after the last one, and when asked.

    Must come last, so that what the other callbacks change after a step is in the checkpoint. Only
    between two optimizer steps is nothing accumulated that a checkpoint does not hold.

    Args:
        checkpoints: Where they go, and when.
        request: Says whether the process was asked to stop.

    Attributes:
        earlier_seconds: Time spent on this run by the processes that this one goes on from.
        num_resumed: How many these were.
        checkpoint_seconds: Time spent on writing checkpoints, by all of them.
    """

    def __init__(self, checkpoints: RunCheckpoints, request: StopRequest) -> None:
        self._checkpoints = checkpoints
        self._request = request
        self._started = self._saved_at = time.monotonic()
        self._cost = 0.0
        self.earlier_seconds = 0.0
        self._generators: list[dict[str, Any]] | None = None
        self.num_resumed = 0
        self.checkpoint_seconds = 0.0
        self._remedy = f"remove {checkpoints.folder} to start the run from its beginning"

    @property
    def wall_seconds(self) -> float:
        """Time spent on this run by this process and by those it goes on from."""
        return self.earlier_seconds + time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        """Keep what the record says of the way to here."""
        return {"wall_seconds": self.wall_seconds, **self.provenance()}

    def provenance(self) -> dict[str, float]:
        """Return what a record says of the parts that a run was made in."""
        return {"num_resumed": self.num_resumed, "checkpoint_seconds": self.checkpoint_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.earlier_seconds = state_dict["wall_seconds"]
        self.num_resumed = state_dict["num_resumed"] + 1
        self.checkpoint_seconds = state_dict["checkpoint_seconds"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the global generators of all ranks, for networks that draw from them."""
        checkpoint["generators"] = gathered(_generator_states(pl_module.device))

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the generators, and refuse a checkpoint that lacks a part.

        Raises:
            UserError: If the place in the data or the generators are missing.
        """
        if not checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader"):
            raise UserError(f"the checkpoint lacks its place in the data; {self._remedy}")
        if not checkpoint.get("generators"):
            raise UserError(f"the checkpoint lacks the random generators; {self._remedy}")
        self._generators = checkpoint["generators"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin: set the generators last of all, and take the signals back from Lightning."""
        super().on_train_start(trainer, pl_module)
        self._saved_at = time.monotonic()
        # Lightning's own handlers stop between any two batches, and under DDP wait in the handler
        # for the other ranks (its issue 21406).
        self._request.listen()
        settle_gradient_buckets(trainer)
        if self._generators:
            _set_generators(self._generators[trainer.global_rank], pl_module.device)
            self._generators = None

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Write a checkpoint if one is due, and stop if that was asked for.

        Raises:
            Preempted: After the checkpoint, on all ranks.
        """
        is_last = step == trainer.max_steps
        is_due, stop_signal = self._agreed(trainer, step, is_last=is_last)
        # What comes after the last step can take as long as the steps did.
        if is_due or stop_signal or is_last:
            self._save(trainer, step)
        if stop_signal:
            raise Preempted(stop_signal, _exit_status(trainer))

    def _agreed(self, trainer: pl.Trainer, step: int, *, is_last: bool) -> tuple[bool, int]:
        """Return whether a checkpoint is due, and the signal to stop for: equal on all ranks."""
        stop_signal = self._request.signal_number or 0
        waited = time.monotonic() - self._saved_at
        settings = self._checkpoints.settings
        is_due = waited >= max(settings.every_seconds, self._cost / settings.largest_share)
        if trainer.world_size == 1:
            return is_due, stop_signal
        if step % _STEPS_BETWEEN_VOTES and not is_last:
            return False, 0
        votes = torch.tensor(
            [int(is_due and trainer.is_global_zero), stop_signal],
            device=trainer.strategy.root_device,
        )
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
        is_due, stop_signal = votes.tolist()
        return bool(is_due), stop_signal

    def _save(self, trainer: pl.Trainer, step: int) -> None:
        began = time.monotonic()
        trainer.save_checkpoint(self._checkpoints.at(step), weights_only=False)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began
        self.checkpoint_seconds += self._cost


def _exit_status(trainer: pl.Trainer) -> int:
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if isinstance(environment, LightningEnvironment) and not trainer.is_global_zero:
        # Started by the first rank, which Lightning kills if one of these fails.
        return 0
    return EXIT_STATUS


def fit_resumably(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    num_steps: int,
    callbacks: Sequence[pl.Callback],
    options: Mapping[str, Any],
    checkpoints: RunCheckpoints,
) -> tuple[pl.Trainer, CheckpointCallback]:
    """Fit from the newest checkpoint of the run, or from the beginning if there is none.

    Returns:
        The trainer, and the callback that knows how long it took in all.

    Raises:
        Preempted: If a signal came; what was done until then is in a checkpoint.
        UserError: As `fit`, or if the checkpoint belongs to something else.
    """
    with asked_at_good_moments() as request:
        keeper = CheckpointCallback(checkpoints, request)
        plugins = [*options.get("plugins", []), checkpoints]
        trainer = quiet_trainer(num_steps, [*callbacks, keeper], {**options, "plugins": plugins})
        fit(trainer, module, data, num_steps, checkpoint=checkpoints.newest())
    return trainer, keeper


def _generator_states(device: torch.device) -> dict[str, Any]:
    """Read every generator that has a global state, as tensors and plain values."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the one networks may use)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.random.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _set_generators(states: Mapping[str, Any], device: torch.device) -> None:
    name, keys, *rest = states["numpy"]
    random.setstate(states["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.random.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
