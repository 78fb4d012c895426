"""``lightning-sparse check``: would this run begin, and what would hold it up?"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from lightning_sparse.arms import arm_of
from lightning_sparse.errors import UserError
from lightning_sparse.execution.build import build_data, build_network, build_training
from lightning_sparse.execution.worker import silence_lightning
from lightning_sparse.settings.batches import num_devices, num_nodes
from lightning_sparse.settings.compose import Composed
from lightning_sparse.training.rehearsal import Rehearsal, rehearse
from lightning_sparse.training.validation import validate

_FINE, _WARNED = 0, 1

_NUM_CHECKPOINTS = 2  # that are kept, and one more while the next is written
_MEMORY = Path("/proc/meminfo")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))


def run(settings: Composed) -> int:
    """Look at network and data, make a few steps on copies, and compare needs with what is there.

    Returns:
        0 if nothing was found; 1 if the run would begin, and something would hold it up or end it,
        each said in a line that begins with WARNING.

    Raises:
        UserError: If the run could not begin; its status is 2.
    """
    silence_lightning()
    _require_writable(Path(settings.runs_dir), "runs_dir")
    torch.set_num_threads(settings.num_threads)
    data = build_data(settings)
    network = build_network(settings, data.source)
    is_masked = arm_of(settings.method).is_masked
    findings = validate(
        network,
        data,
        is_masked=is_masked,
        recalibrates=bool(settings.recalibrate_batch_norm),
    )
    print(
        f"model and data: {type(network).__name__}, {findings.num_parameters:,} parameters; "
        f"{data.source.name}, {len(data.source.train):,} training images; they fit each other"
    )
    for remark in findings.remarks():
        print(f"note: {remark}")
    found = rehearse(
        network,
        data,
        build_training(settings.training, "training"),
        settings.trainer,
        is_masked=is_masked,
        is_compiled=bool(settings.compile),
    )
    warnings = [*_say_ranks(settings), *_say_rates(found, settings), *_say_memory(found)]
    warnings += [*_say_disk(found, settings), *_say_caches()]
    for warning in warnings:
        print(f"WARNING: {warning}")
    print("nothing stands in the way" if not warnings else f"{len(warnings)} warnings")
    return _WARNED if warnings else _FINE


def _say_ranks(settings: Composed) -> Iterator[str]:
    trainer = settings.trainer
    devices, nodes = num_devices(trainer), num_nodes(trainer)
    batches = trainer.get("accumulate_grad_batches", 1)
    images = settings.batch_size * devices * nodes * batches
    print(
        f"step: {images:,} images = batch_size {settings.batch_size} x {devices} devices x "
        f"{nodes} nodes x {batches} accumulated; {settings.training.num_steps:,} steps"
    )
    if trainer.get("accelerator") in {"gpu", "cuda"} and devices > torch.cuda.device_count():
        yield (
            f"trainer.devices={devices}: this machine has {torch.cuda.device_count()}; the run "
            "would not begin here"
        )


def _say_rates(found: Rehearsal, settings: Composed) -> Iterator[str]:
    loader, step = found.loader_rate, found.step_rate
    print(
        f"speed: the loader gives {loader:,.0f} images/s, a step on {found.device.type} takes "
        f"{step:,.0f} images/s"
    )
    if loader < step:
        yield (
            f"the loader is the bottleneck: {loader:,.0f} images/s against {step:,.0f}; more "
            f"num_workers (now {settings.num_workers}), smaller stored images or FFCV help"
        )


def _say_memory(found: Rehearsal) -> Iterator[str]:
    free = _free_memory(found.device)
    print(
        f"memory: {_size(found.memory_bytes)} = weights {_size(found.weight_bytes)} + gradients "
        f"{_size(found.gradient_bytes)} + momentum {_size(found.momentum_bytes)} + masks "
        f"{_size(found.mask_bytes)} + the larger of activations of {found.num_images} images in a "
        f"step {_size(found.activation_bytes)} and evaluation of {found.num_evaluated} images "
        f"{_size(found.evaluation_bytes)}; {_size(free)} are free"
    )
    if found.memory_bytes > free:
        is_evaluation = found.evaluation_bytes > found.activation_bytes
        what, remedy = (
            ("evaluation", "evaluation.batch_size")
            if is_evaluation
            else ("a step", "batch_size, with global_batch_size as the recipe's")
        )
        yield (
            f"{what} needs {_size(found.memory_bytes)} of memory and {_size(free)} are free: lower "
            f"{remedy}"
        )


def _say_disk(found: Rehearsal, settings: Composed) -> Iterator[str]:
    folder = _existing(Path(settings.runs_dir))
    free = shutil.disk_usage(folder).free
    checkpoint = found.weight_bytes + found.momentum_bytes
    num_states = 2 + len(settings.capture_steps)
    need = (_NUM_CHECKPOINTS + 1) * checkpoint + num_states * found.weight_bytes
    print(
        f"disk: {_size(need)} = {_NUM_CHECKPOINTS + 1} checkpoints of {_size(checkpoint)} + "
        f"{num_states} sets of weights of {_size(found.weight_bytes)}; {_size(free)} are free in "
        f"{folder}"
    )
    if need > free:
        yield f"the run needs {_size(need)} on disk and {_size(free)} are free in {folder}"


def _say_caches() -> Iterator[str]:
    """Compilers and fonts keep what they made; where they cannot, every run makes it again."""
    places = {
        "temporary files": Path(tempfile.gettempdir()),
        "caches (XDG_CACHE_HOME)": Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")),
    }
    for name, place in places.items():
        if not _is_writable(_existing(place)):
            yield f"{name} cannot be written to {place}"


def _require_writable(place: Path, name: str) -> None:
    folder = _existing(place)
    if not folder.is_dir() or not _is_writable(folder):
        raise UserError(
            f"{name}={place}: nothing can be written in {folder}; choose another folder with "
            f"{name}=..."
        )


def _existing(place: Path) -> Path:
    """Return the folder itself, or the one in which it would be made."""
    place = place.absolute()
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _is_writable(folder: Path) -> bool:
    is_mounted_to_read = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    return os.access(folder, os.W_OK | os.X_OK) and not is_mounted_to_read


def _free_memory(device: torch.device) -> int:
    """What is available to this process: on a machine, in its share of it, or on a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if _MEMORY.is_file():
        words = dict(
            line.split(":", 1) for line in _MEMORY.read_text(encoding="ascii").splitlines()
        )
        free.append(int(words["MemAvailable"].split()[0]) * 1024)
    if all(file.is_file() for file in _LIMITS):
        most, used = (file.read_text(encoding="ascii").strip() for file in _LIMITS)
        if most != "max":
            free.append(int(most) - int(used))
    return max(0, min(free))


def _size(num_bytes: float) -> str:
    """Say a number of bytes as people do.

    Example:
        >>> _size(3_276_800)
        '3.28 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:  # noqa: PLR2004 (a decimal step)
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"
