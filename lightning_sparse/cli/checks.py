"""What settings may hold, checked before torch is imported; classes check their own arguments."""

import reprlib
from collections.abc import Mapping
from typing import Any, get_args

from lightning_sparse.cli.schema import check_type, fits
from lightning_sparse.errors import UserError
from lightning_sparse.records import MethodName, is_plain_name

_AT_LEAST = {
    "seed": 0,
    "rewind_step": 0,
    "batch_size": 1,
    "global_batch_size": 1,
    "num_threads": 1,
    "num_workers": 0,
    "log_every_steps": 1,
    "sweep.num_processes": 1,
    "sweep.num_agents": 1,
    "training.num_steps": 1,
    "pruning.update_every": 1,
    "path.training.num_steps": 1,
    "path.steps_multiplier": 2,
    "reproduce.search.num_seeds": 0,
    "reproduce.num_seeds_of_sparsities": 0,
    "evaluation.batch_size": 1,
    "evaluation.train_subset_size": 1,
    "evaluation.num_points": 2,
    "evaluation.num_recalibration_images": 1,
    "evaluation.recalibration_batch_size": 1,
    "evaluation.points_at_once": 1,
    "evaluation.max_refinements": 0,
    "export.num_images": 1,
    "evaluation.quiet_rounds": 1,
    "reproduce.num_processes": 1,
    "slurm.cpus_per_task": 1,
    "slurm.mem_gb": 1,
    "slurm.minutes": 1,
    "slurm.warn_seconds": 1,
}

_CHOICES: Mapping[str, tuple[str | int, ...]] = {  # or null, where that is a choice
    "method.name": get_args(MethodName),
    "method.start": ("init", "init/scratch"),
    "path.space": ("dense", "start_mask", "end_mask", "union", "intersection"),
    "export.format": ("onnx", "csr"),
    "evaluation.batch_norm": (
        "recalibrated",
        "recalibrated_plain",
        "batch",
        "interpolated",
        "stored",
    ),
    "recalibrate_batch_norm": ("augmented", "plain"),
    "report.rules": (1, 2),
}


# Lightning's precisions by their names, its older ones among them.
_PRECISIONS: Mapping[str, str] = {
    "32-true": "32-true",
    "bf16-mixed": "bf16-mixed",
    "16-mixed": "16-mixed",
    "bf16-true": "bf16-true",
    "16-true": "16-true",
    "64-true": "64-true",
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
    "64": "64-true",
}

# Folders anywhere that the user may name; what is made inside them has names of our own.
_PLACES = (
    "runs_dir",
    "mask_source",
    "path.start",
    "path.end",
    "export.run",
    "export.out",
    "published.file",
    "published.start",
)

_LARGEST = 2**63 - 1  # what torch takes; beyond some 10^308 a float does not hold it either

_LONGEST_PLACE = 1000  # characters; systems take 1,024 and more


def check_types(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Compare the type of each setting, by dotted name, with the schema, or with its default's.

    Raises:
        UserError: Naming the first that does not fit.
    """
    for name, value in settings.items():
        if type(value) is int and abs(value) > _LARGEST:
            raise UserError(f"{name}={reprlib.repr(value)}: is too large; give a smaller number")
        check_type(name, value, defaults.get(name))


def check_ranges(settings: Mapping[str, Any]) -> None:
    """Refuse values that would only fail in the middle of something long.

    Raises:
        UserError: Naming the field, its value and what it may be.
    """
    _check_sparsities(settings)
    for name, minimum in _AT_LEAST.items():
        value = _look_up(settings, name)
        if value is not None and value < minimum:
            raise UserError(f"{name}={value}: must be at least {minimum}")
    for name, choices in _CHOICES.items():
        value = _look_up(settings, name)
        # Where null is no choice, its type has been refused before.
        if value is not None and value not in choices:
            raise UserError(f"{name}={value}: choose one of {', '.join(map(str, choices))}")
    _check_steps(settings)
    _check_places(settings)
    trainer = settings["trainer"]
    check_precision(trainer.get("precision"), str(trainer.get("accelerator")))


def check_precision(precision: Any, accelerator: str) -> None:
    """Refuse a precision in which no run can be made.

    Args:
        precision: In Lightning's words; None for its default.
        accelerator: In Lightning's words; what it stands for, such as ``auto``, is known later.

    Raises:
        UserError: Naming the precisions that there are.
    """
    field = f"trainer.precision={precision}"
    name = _PRECISIONS.get(str(precision))
    if str(precision).startswith("transformer-engine"):
        raise UserError(
            f"{field}: puts layers of its own in the place of the network's, whose weights could "
            "not be masked; choose trainer.precision=bf16-mixed"
        )
    if precision is not None and (name is None or isinstance(precision, bool)):
        raise UserError(f"{field}: choose one of {', '.join(dict.fromkeys(_PRECISIONS.values()))}")
    if name == "16-mixed" and accelerator == "cpu":
        raise UserError(
            f"{field}: needs a GPU, and on a CPU Lightning would take another one instead; choose "
            "trainer.precision=bf16-mixed, or trainer.accelerator=gpu"
        )
    if name == "64-true" and accelerator == "mps":
        raise UserError(
            f"{field}: Apple's GPUs do not compute in double precision; choose 32-true, or "
            "trainer.accelerator=cpu"
        )


def _check_sparsities(settings: Mapping[str, Any]) -> None:
    for name in ("sparsity", "reproduce.sparsities", "reproduce.control_sparsity"):
        value = _look_up(settings, name)
        if value is None:
            continue
        for sparsity in value if isinstance(value, list) else [value]:
            if not fits(sparsity, float) or not 0 <= sparsity < 1:
                raise UserError(f"{name}={value}: must lie in [0, 1), for example sparsity=0.98")


def _check_places(settings: Mapping[str, Any]) -> None:
    """Refuse names that would lead out of ``runs_dir``, and what no file system takes."""
    name = settings["experiment_name"]
    if not is_plain_name(name):
        raise UserError(
            f"experiment_name={name!r}: becomes part of folder names, so it must be one plain "
            "name, for example experiment_name=mine"
        )
    folder = settings["reproduce"]["dir"]
    if not all(is_plain_name(part) for part in folder.split("/")):
        raise UserError(
            f"reproduce.dir={folder!r}: must be a folder inside runs_dir, for example "
            "reproduce.dir=mine"
        )
    for name in _PLACES:
        place = _look_up(settings, name)
        if place is not None and not (place.isprintable() and 0 < len(place) <= _LONGEST_PLACE):
            raise UserError(
                f"{name}={reprlib.repr(place)}: is no name of a folder; it must be of 1 to "
                f"{_LONGEST_PLACE} characters that can be printed"
            )


def _check_steps(settings: Mapping[str, Any]) -> None:
    num_steps, pruning = settings["training"]["num_steps"], settings["pruning"]
    if not 0 <= pruning["start_step"] < pruning["end_step"] <= num_steps:
        raise UserError(
            f"pruning.start_step={pruning['start_step']}, pruning.end_step={pruning['end_step']}: "
            f"need 0 <= start_step < end_step <= training.num_steps={num_steps}"
        )
    if settings["rewind_step"] >= num_steps:
        raise UserError(
            f"rewind_step={settings['rewind_step']}: must be below training.num_steps={num_steps}"
        )
    for step in settings["capture_steps"]:
        if not fits(step, int) or not 0 <= step <= num_steps:
            raise UserError(
                f"capture_steps={settings['capture_steps']}: must be steps from 0 to "
                f"training.num_steps={num_steps}"
            )


def _look_up(settings: Mapping[str, Any], name: str) -> Any:
    value: Any = settings
    for key in name.split("."):
        value = value[key]
    return value
