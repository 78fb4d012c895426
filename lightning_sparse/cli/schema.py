"""Every setting there is, by its dotted name, and what it may hold. No torch in here.

One table for the command line and for files: the shipped ones under ``conf/`` and a user's own.
"""

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from lightning_sparse.errors import UserError

SCHEMA: Mapping[str, Any] = {
    "experiment_name": str,
    "runs_dir": str,
    "seed": int,
    "sparsity": float,
    "mask_source": str | None,
    "rewind_step": int,
    "capture_steps": list,
    "recalibrate_batch_norm": str | None,
    "batch_size": int,
    "global_batch_size": int | None,
    "compile": bool | None,
    "deterministic": bool | None,
    "num_threads": int,
    "channels_last": bool,
    "log_every_steps": int | None,
    "num_workers": int,
    "run_learning_rate": float | None,
    "training_steps_multiplier": float | None,
    "method.name": str,
    "method.start": str,
    "method.needs_masks": bool,
    "method.rewound": bool,
    "training.num_steps": int,
    "training.learning_rate": float,
    "training.momentum": float,
    "training.weight_decay": float,
    "training.label_smoothing": float,
    "training.gradient_clip_norm": float | None,
    "pruning.start_step": int,
    "pruning.end_step": int,
    "pruning.update_every": int,
    "path.start": str,
    "path.end": str,
    "path.space": str,
    "path.steps_multiplier": int | None,
    "path.training.num_steps": int,
    "path.training.learning_rate": float,
    "path.training.momentum": float,
    "path.training.weight_decay": float,
    "path.training.label_smoothing": float,
    "path.training.gradient_clip_norm": float | None,
    "evaluation.batch_size": int,
    "evaluation.train_subset_size": int | None,
    "evaluation.num_points": int,
    "evaluation.lowest_t": float,
    "evaluation.highest_t": float,
    "evaluation.batch_norm": str,
    "evaluation.num_recalibration_images": int,
    "evaluation.recalibration_batch_size": int,
    "evaluation.points_at_once": int,
    "evaluation.max_refinements": int,
    "evaluation.quiet_rounds": int,
    "evaluation.allow_tf32": bool | None,
    "checkpoint.every_seconds": float,
    "checkpoint.largest_share": float,
    "checkpoint.keep": bool,
    "tuned.learning_rate.dense": float,
    "tuned.learning_rate.prune": float,
    "tuned.learning_rate.scratch": float,
    "tuned.learning_rate.lottery": float,
    "tuned.path_learning_rate.dense": float,
    "tuned.path_learning_rate.end_mask": float,
    "tuned.path_learning_rate.start_mask": float,
    "tuned.path_learning_rate.union": float,
    "tuned.path_learning_rate.intersection": float,
    "reproduce.dir": str,
    "reproduce.title": str,
    "reproduce.seeds": list[int],
    "reproduce.further_seeds": list[int],
    "reproduce.sparsities": list,
    "reproduce.num_seeds_of_sparsities": int | None,
    "reproduce.num_processes": int | None,
    "reproduce.lines": list[dict[str, Any]],
    "reproduce.curves": list[dict[str, Any]],
    "reproduce.control_sparsity": float | None,
    "reproduce.search.times": list[int],
    "reproduce.search.num_seeds": int,
    "reproduce.search.curves": list[dict[str, Any]],
    "export.run": str | None,
    "export.format": str,
    "export.out": str | None,
    "export.num_images": int,
    "published.file": str | None,
    "published.layout": str | None,
    "published.start": str | None,
    "report.runs": str | None,
    "report.rules": int | None,
    "sweep.file": str | None,
    "sweep.seed": int | None,
    "sweep.seeds": list[int],
    "sweep.verb": str,
    "sweep.num_processes": int | None,
    "sweep.part": str | None,
    "sweep.id": str | None,
    "sweep.num_agents": int,
    "pilot.seeds": list[int],
    "pilot.learning_rates": list[float],
    "pilot.prune_trials": list[dict[str, Any]],
    "pilot.path_learning_rates": list[float],
    "logger.name": str,
    "logger.project": str,
    "logger.entity": str | None,
    "logger.mode": str | None,
    "slurm.partition": str | None,
    "slurm.account": str | None,
    "slurm.qos": str | None,
    "slurm.constraint": str | None,
    "slurm.cpus_per_task": int | None,
    "slurm.mem_gb": int | None,
    "slurm.minutes": int,
    "slurm.warn_seconds": int,
    "slurm.setup": list[str],
    "slurm.seeds": list[int],
}

# Below these stand the arguments of something that is chosen: a class, the Trainer, sbatch.
OPEN = (
    "data",
    "model",
    "distribution",
    "curve",
    "trainer",
    "slurm.options",
    "method.sparse_method",
    "training.lr_schedule",
    "path.training.lr_schedule",
)

_EXAMPLES: Mapping[str, Any] = {
    "mask_source": "runs/NAME",
    "global_batch_size": 4096,
    "recalibrate_batch_norm": "augmented",
    "compile": "true",
    "log_every_steps": 100,
    "run_learning_rate": 0.1,
    "training_steps_multiplier": 5,
    "path.steps_multiplier": 4,
    "training.gradient_clip_norm": 1.0,
    "path.training.gradient_clip_norm": 1.0,
    "evaluation.train_subset_size": 1024,
    "reproduce.num_processes": 2,
    "reproduce.num_seeds_of_sparsities": 3,
    "reproduce.control_sparsity": 0.8,
    "reproduce.seeds": "[11,12,13]",
    "reproduce.further_seeds": "[14,15]",
    "export.run": "runs/NAME",
    "export.out": "exports/NAME.onnx",
    "published.file": "rigl.npz",
    "published.layout": "rigl",
    "published.start": "start.npz",
    "report.runs": "runs",
    "report.rules": 2,
    "sweep.file": "gap",
    "sweep.seed": 7,
    "sweep.seeds": "[1,2,3]",
    "sweep.num_processes": 2,
    "sweep.part": "2/8",
    "sweep.id": "ENTITY/PROJECT/ID",
    "pilot.seeds": "[1,2,3]",
    "logger.entity": "my-team",
    "logger.mode": "offline",
    "slurm.partition": "gpu",
    "slurm.account": "vision",
    "slurm.qos": "normal",
    "slurm.constraint": "h100",
    "slurm.cpus_per_task": 10,
    "slurm.mem_gb": 500,
    "slurm.seeds": "[11,12,13]",
}

_KINDS: Mapping[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "truth values"),
    str: ("a text", "texts"),
    dict: ("a mapping", "mappings"),
    types.NoneType: ("null", "nulls"),
}


def leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting that is not a mapping, with its dotted name.

    Example:
        >>> dict(leaves({"seed": 3, "path": {"space": "dense"}}))
        {'seed': 3, 'path.space': 'dense'}
    """
    if not isinstance(settings, Mapping) or (prefix and not settings):
        yield prefix, settings
        return
    for name, value in settings.items():
        yield from leaves(value, f"{prefix}.{name}" if prefix else str(name))


def is_open(name: str) -> bool:
    """Whether a name is an argument of what is chosen, which alone knows what it takes."""
    return any(name == place or name.startswith(f"{place}.") for place in OPEN)


def check_name(name: str, value: Any) -> None:
    """Refuse a setting that nothing would ever read.

    Raises:
        UserError: Saying what was probably meant.
    """
    if name in SCHEMA or is_open(name):
        return
    below = next((known for known in SCHEMA if known.startswith(f"{name}.")), None)
    if below is not None and not value:
        raise UserError(f"{name} is empty; leave it out, or give what it holds, such as {below}")
    if below is not None:
        raise UserError(f"{name}={value!r}: holds several settings; name one, such as {below}")
    raise UserError(unknown(name))


def unknown(name: str) -> str:
    """Say that there is no such setting, and what was probably meant."""
    parent = name.rpartition(".")[0]
    if parent in OPEN:
        return (
            f"no setting is called {name!r}; an argument of the chosen class is added with a plus "
            f"sign: +{name}=..."
        )
    close = difflib.get_close_matches(name, SCHEMA, n=1, cutoff=0.5)
    hint = (
        f"did you mean {close[0]}?" if close else "`lightning-sparse train --settings` lists them"
    )
    return f"no setting is called {name!r}; {hint}"


def check_type(name: str, value: Any, default: Any = None) -> None:
    """Compare a setting's value with its type, or with that of its default if it is open.

    Raises:
        UserError: If it does not fit.
    """
    if name in SCHEMA:
        expected = SCHEMA[name]
    elif value is None or default is None or name.startswith("trainer."):
        # Whether null is something, a class declares; and Lightning takes numbers, lists and words
        # for the same arguments of its Trainer.
        return
    else:
        expected = type(default)
    if not fits(value, expected):
        example = _EXAMPLES.get(name, default)
        hint = "" if example is None else f", for example {name}={example}"
        raise UserError(f"{name}={value!r}: must be {described(expected)}{hint}")


def fits(value: Any, expected: Any) -> bool:
    """Whether ``value`` may stand for ``expected``: an integer for a number, too."""
    expected = get_origin(expected) if get_origin(expected) is dict else expected
    if isinstance(expected, types.UnionType):
        return any(fits(value, option) for option in get_args(expected))
    if expected is types.NoneType:
        return value is None
    if get_origin(expected) is list:
        return isinstance(value, list) and all(fits(i, get_args(expected)[0]) for i in value)
    if isinstance(value, bool) or expected is bool:
        return isinstance(value, bool) and expected is bool
    return isinstance(value, int | float if expected is float else expected)


def described(expected: Any) -> str:
    """Say what a type is, as part of a sentence: ``a number or null``.

    Example:
        >>> described(float | None)
        'a number or null'
    """
    if isinstance(expected, types.UnionType):
        kinds = [described(option) for option in get_args(expected)]
        return " or ".join(kinds)
    if get_origin(expected) is list:
        item = get_args(expected)[0]
        return f"a list of {_KINDS[get_origin(item) or item][1]}"
    return _KINDS[expected][0] if expected in _KINDS else "a list"
