"""A checkpoint with masks, against one without: both written by Lightning through `RunCheckpoints`.

The same network, optimizer state, verification and flush to disk on both sides; only the callback
that keeps the masks is left out on one.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytorch_lightning as pl

from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import Scale, masks_of, noise_data, resnet50, settings, timed, use_cores
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.training.checkpoints import RunCheckpoints, fit_resumably
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.sparsity_callback import SparsityCallback

_BYTES_PER_MB = 1e6


def trials(scale: Scale) -> Iterator[Trial]:
    """Time and size."""
    use_cores()
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder) / name for name in ("masks", "no masks")}
        saves = {
            name: _save(place, scale, has_masks=name == "masks") for name, place in places.items()
        }
        yield Trial(
            name="writing a checkpoint of ResNet-50",
            sides={
                name: Side(what=_what(name), measure=timed(save, scale=scale))
                for name, save in saves.items()
            },
            claims=[_claim(1.1)],
            seconds=30,
        )
        sizes = {name: _size(place) for name, place in places.items()}
        yield Trial(
            name="size of a checkpoint of ResNet-50",
            sides={
                name: Side(what=_what(name), measure=partial(float, size))
                for name, size in sizes.items()
            },
            claims=[_claim(1.04)],
            unit="MB",
            num_rounds=1,
        )


def _what(name: str) -> str:
    return "this project" if name == "masks" else "this project, dense, without the masks"


def _claim(bar: float) -> Claim:
    return Claim(statement="masks / no masks", quantity=Ratio("masks", "no masks"), bar=bar)


def _save(run_dir: Path, scale: Scale, *, has_masks: bool) -> Callable[[], object]:
    """Train one step, so that there is momentum to save, and return what writes a checkpoint."""
    network = resnet50(scale)
    callbacks: list[pl.Callback] = (
        [SparsityCallback(GivenMask(masks=masks_of(network)), network="network")]
        if has_masks
        else []
    )
    checkpoints = RunCheckpoints(run_dir, None, {"run_id": "benchmark"})
    trainer, _ = fit_resumably(
        ClassifierModule(network, settings(num_steps=1)),
        noise_data(*scale.choose((4, 64), (2, 16)), scale),
        1,
        callbacks,
        {"accelerator": scale.device.type, "devices": 1},
        checkpoints,
    )
    steps = iter(range(2, 10**9))
    return lambda: trainer.save_checkpoint(checkpoints.at(next(steps)), weights_only=False)


def _size(folder: Path) -> float:
    newest = max(folder.glob("checkpoints/step_*"), key=lambda path: path.stat().st_mtime_ns)
    return sum(file.stat().st_size for file in newest.iterdir()) / _BYTES_PER_MB
