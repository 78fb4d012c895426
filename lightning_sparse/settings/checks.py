"""What settings may hold, checked before torch is imported; classes check their own arguments."""

import reprlib
from collections.abc import Mapping
from typing import Any

from lightning_sparse.arms import arm_of
from lightning_sparse.errors import UserError
from lightning_sparse.fields import Traits
from lightning_sparse.records import is_plain_name
from lightning_sparse.settings.schema import LEAVES, check_type, fits
from lightning_sparse.settings.shipped import choices
from lightning_sparse.settings.tree import Settings

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


def check_values(tree: Mapping[str, Any]) -> None:
    """Refuse what a setting declares that it may not be, one by one.

    Raises:
        UserError: Naming the field, its value and what it may be.
    """
    _check_sparsities(tree)
    for leaf in LEAVES.values():
        # Where null is no choice, its type has been refused before.
        if leaf.name != "tuned.learning_rate" and (value := _look_up(tree, leaf.name)) is not None:
            _check_traits(leaf.name, value, leaf.traits)


def check_ranges(settings: Settings) -> None:
    """Refuse values that do not fit each other, or would only fail in the middle of something long.

    Raises:
        UserError: Naming the field, its value and what it may be.
    """
    _check_steps(settings)
    _check_places(settings)
    trainer = settings.trainer
    check_precision(trainer.get("precision"), str(trainer.get("accelerator")))


def _check_traits(name: str, value: Any, traits: Traits) -> None:
    traits.check_range(name, value)
    if traits.choices and value not in traits.choices:
        raise UserError(f"{name}={value}: choose one of {', '.join(map(str, traits.choices))}")
    is_name = value.isprintable() and 0 < len(value) <= _LONGEST_PLACE if traits.is_place else True
    if not is_name:
        raise UserError(
            f"{name}={reprlib.repr(value)}: is no name of a folder; it must be of 1 to "
            f"{_LONGEST_PLACE} characters that can be printed"
        )


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


def _check_sparsities(tree: Mapping[str, Any]) -> None:
    for name in (
        "sparsity",
        "method.sparsity",
        "reproduce.sparsities",
        "reproduce.control_sparsity",
    ):
        value = _look_up(tree, name)
        if value is None:
            continue
        for sparsity in value if isinstance(value, list) else [value]:
            if not fits(sparsity, float) or not 0 <= sparsity < 1:
                raise UserError(f"{name}={value}: must lie in [0, 1), for example sparsity=0.98")


def _check_places(settings: Settings) -> None:
    """Refuse names that would lead out of ``runs_dir``."""
    arm_of(settings.method)
    arms = choices("method")
    for name, arm in (("name", settings.method.name), ("repeats", settings.method.repeats)):
        if arm is not None and arm not in arms:
            raise UserError(f"method.{name}={arm}: choose one of {', '.join(arms)}")
    name = settings.experiment_name
    if not is_plain_name(name):
        raise UserError(
            f"experiment_name={name!r}: becomes part of folder names, so it must be one plain "
            "name, for example experiment_name=mine"
        )
    folder = settings.reproduce.dir
    if not all(is_plain_name(part) for part in folder.split("/")):
        raise UserError(
            f"reproduce.dir={folder!r}: must be a folder inside runs_dir, for example "
            "reproduce.dir=mine"
        )


def _check_steps(settings: Settings) -> None:
    num_steps, pruning = settings.training.num_steps, settings.pruning
    if not 0 <= pruning.start_step < pruning.end_step <= num_steps:
        raise UserError(
            f"pruning.start_step={pruning.start_step}, pruning.end_step={pruning.end_step}: "
            f"need 0 <= start_step < end_step <= training.num_steps={num_steps}"
        )
    if settings.rewind_step >= num_steps:
        raise UserError(
            f"rewind_step={settings.rewind_step}: must be below training.num_steps={num_steps}"
        )
    for step in settings.capture_steps:
        if not fits(step, int) or not 0 <= step <= num_steps:
            raise UserError(
                f"capture_steps={settings.capture_steps}: must be steps from 0 to "
                f"training.num_steps={num_steps}"
            )


def _look_up(settings: Mapping[str, Any], name: str) -> Any:
    value: Any = settings
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
