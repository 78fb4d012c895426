"""Does what a finished training run left behind agree with its record and with itself?

Only tensors and JSON are read. The network is not built, since its class is named by the record,
which may be a stranger's: so the measured losses and accuracies are not measured again.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_sparse.arms import Arm, arm_of, recorded_method
from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.records import LayerSparsity, RunRecord, read_record
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.sparsity.masks import Masks, kept_and_prunable, layer_counts
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.training.run import (
    MASKS_FILE,
    START_FILE,
    WEIGHTS_FILE,
    weights_at_step_file,
    weights_file,
)


def problems_of_run(record: RunRecord, run_dir: Path) -> Iterator[str]:
    """Yield one line for everything in the folder that does not agree.

    Compared are the recorded settings with the record's own fields, the recorded counts with those
    of the masks, and the masks with the weights, whose masked entries must be exactly zero. A run
    that was given masks, or that starts from another's weights, must have those of that run if it
    lies beside it. A run from ``init/scratch`` must not start as one from ``init`` of the same
    seed beside it does, and recalibrated statistics must be those of as many batches as recorded.
    """
    try:
        arm = arm_of(recorded_method(record.config))
    except (UserError, KeyError, TypeError, AttributeError) as error:
        yield f"record.json: config does not say what the arm is ({error})"
        return
    yield from differing_settings(record.config, _said_of(record, arm))
    try:
        masks = load_masks(run_dir / MASKS_FILE)
        states = {name: load_tensors(run_dir / name) for name in _state_files(record, run_dir)}
    except UserError as error:
        yield str(error)
        return
    yield from _wrong_counts(record, arm, masks)
    for file, state in states.items():
        # The masks of a step before the end are kept only where they never change.
        is_masked = file == WEIGHTS_FILE or _keeps_given_masks(record)
        yield from (f"{file}: {line}" for line in misfits(masks, state, masked=is_masked))
    start = states.get(START_FILE, {})
    yield from _wrong_masks(record, run_dir, masks)
    yield from _wrong_start(record, arm, run_dir, start)
    yield from _equal_starts(record, run_dir, masks, start)
    yield from _wrong_statistics(record, states[WEIGHTS_FILE])


def _said_of(record: RunRecord, arm: Arm) -> dict[str, Any]:
    """Return what the settings must say, by the record's own fields."""
    said = {
        "experiment_name": record.experiment,
        "seed": record.seed,
        "method.repeats" if arm.repeats else "method.name": record.method,
        "method.start": record.start,
        "training.num_steps": record.num_steps,
    }
    if arm.is_masked:
        has_own = record.config["method"].get("sparsity") is not None
        said["method.sparsity" if has_own else "sparsity"] = record.target_sparsity
    if record.rewind_step and record.start_source is None:
        said["rewind_step"] = record.rewind_step
    return said


def differing_settings(config: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Compare recorded settings, by dotted name, with what the record says elsewhere."""
    for name, value in expected.items():
        found: Any = config
        for key in name.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found != value:
            yield f"record.json: config has {name}={found!r}, the record's own field says {value!r}"


def misfits(masks: Masks, state: Mapping[str, Tensor], *, masked: bool) -> Iterator[str]:
    """Say which weights a mask does not fit and, if ``masked``, which it fails to hold at zero."""
    for name, mask in masks.items():
        if name not in state:
            yield f"lacks {name!r}, which has a mask"
        elif state[name].shape != mask.shape:
            yield (f"{name!r} has shape {tuple(state[name].shape)}, its mask {tuple(mask.shape)}")
        elif masked and (num_wrong := int((state[name][~mask] != 0).sum())):
            yield f"{name!r} has {num_wrong} masked weights that are not zero"


def _state_files(record: RunRecord, run_dir: Path) -> list[str]:
    steps = record.config.get("capture_steps")
    captured = [step for step in steps if type(step) is int] if isinstance(steps, list) else []
    # The start of what was trained elsewhere may not be known.
    is_known = "published" not in record.config or (run_dir / START_FILE).is_file()
    start = [START_FILE] if is_known else []
    return [*start, WEIGHTS_FILE, *map(weights_at_step_file, captured)]


def _wrong_counts(record: RunRecord, arm: Arm, masks: Masks) -> Iterator[str]:
    counted = layer_counts(masks)
    nothing = LayerSparsity(kept=0, prunable=0)
    for name in dict.fromkeys([*record.layers, *counted]):
        said, found = record.layers.get(name, nothing), counted.get(name, nothing)
        if said != found:
            yield (
                f"record.json: keeps {said.kept} of {said.prunable} weights of {name!r}, "
                f"{MASKS_FILE} keeps {found.kept} of {found.prunable}"
            )
    kept, prunable = kept_and_prunable(masks)
    if (record.kept, record.prunable) != (kept, prunable):
        yield (
            f"record.json: keeps {record.kept} of {record.prunable} weights in all, "
            f"{MASKS_FILE} keeps {kept} of {prunable}"
        )
    if not arm.is_masked and (kept < prunable or record.target_sparsity):
        yield f"record.json: is a {arm.name} run, yet keeps {kept} of {prunable} weights"


def _keeps_given_masks(record: RunRecord) -> bool:
    said = record.config["method"].get("sparse_method")
    return isinstance(said, Mapping) and said.get("_target_") == _GIVEN_MASK


_GIVEN_MASK = f"{GivenMask.__module__}.{GivenMask.__qualname__}"


def _wrong_masks(record: RunRecord, run_dir: Path, masks: Masks) -> Iterator[str]:
    """Compare masks that never change with those of the run that gave them, if it is there."""
    source = run_dir.parent / (record.mask_source or "")
    if record.mask_source is None or not source.is_dir() or not _keeps_given_masks(record):
        return
    try:
        same_masks = same_tensors(load_masks(source / MASKS_FILE), masks)
    except UserError as error:
        yield f"cannot be compared with the run that its masks are of: {error}"
        return
    if not same_masks:
        yield f"{MASKS_FILE}: has other masks than {record.mask_source}, which gave them"


def _wrong_start(
    record: RunRecord, arm: Arm, run_dir: Path, start: Mapping[str, Tensor]
) -> Iterator[str]:
    """Compare the start with the weights that it is said to be, of a run that is there.

    What the masks of the start removed is zero in it, and everything else must be equal.
    """
    name = record.start_source or record.mask_source
    # A start that was changed is no other run's any more.
    if arm.start is None or arm.changed_by or name is None or not (run_dir.parent / name).is_dir():
        return
    file = run_dir.parent / name / weights_file(arm.start.moment)
    try:
        masks = load_masks(run_dir / MASKS_FILE)
        weights = load_tensors(file)
    except UserError as error:
        yield f"cannot be compared with the run that it starts from: {error}"
        return
    # Where it is not known what was masked at the start, zeros tell nothing of it.
    known = masks if _keeps_given_masks(record) else {key: start.get(key) != 0 for key in masks}
    inside = {
        key: weight * known[key] if key in known else weight for key, weight in weights.items()
    }
    if not same_tensors(inside, start):
        yield f"{START_FILE}: is not {file.name} of {name} inside the masks, its start"


def same_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether both hold the same names with equal values; zeros of either sign are equal."""
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


def equal_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor], masks: Masks) -> bool:
    """Whether two starts are one inside ``masks``; weights that hold one number say nothing."""
    pairs = [
        (first[name][mask], second[name][mask])
        for name, mask in masks.items()
        if name in first
        and name in second
        and first[name].shape == second[name].shape == mask.shape
    ]
    telling = [
        (one, other) for one, other in pairs if len(one) > 1 and bool(one.min() != one.max())
    ]
    return bool(telling) and all(torch.equal(one, other) for one, other in telling)


def _equal_starts(
    record: RunRecord, run_dir: Path, masks: Masks, start: Mapping[str, Tensor]
) -> Iterator[str]:
    """Compare a start from ``init/scratch`` with those from ``init`` of the same seed beside it."""
    if record.start != "init/scratch":
        return
    for other in sorted(run_dir.parent.glob(f"*/{START_FILE}")):
        if not _is_from_init(other.parent, record):
            continue
        try:
            is_equal = equal_weights(start, load_tensors(other), masks)
        except UserError:  # said where that run is verified
            continue
        if is_equal:
            yield (
                f"{START_FILE}: holds the weights that {other.parent.name} starts from, though it "
                "is from init/scratch and that one from init: the network's constructor seeds "
                "itself"
            )
            return


def _is_from_init(run_dir: Path, record: RunRecord) -> bool:
    try:
        other = read_record(run_dir)
    except UserError:
        return False
    return (
        isinstance(other, RunRecord)
        and (other.start, other.rewind_step, other.seed) == ("init", 0, record.seed)
        and other.config.get("model") == record.config.get("model")
    )


def _wrong_statistics(record: RunRecord, weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Compare the batches that were counted into recalibrated statistics with those recorded."""
    evaluation = record.config.get("evaluation")
    if not record.config.get("recalibrate_batch_norm") or not isinstance(evaluation, Mapping):
        return
    num_images = evaluation.get("num_recalibration_images")
    batch_size = evaluation.get("recalibration_batch_size")
    if type(num_images) is not int or type(batch_size) is not int or batch_size < 1:
        return
    for name, count in weights.items():
        is_wrong = name.endswith(_COUNTER) and count.numel() == 1
        if is_wrong and int(count) != num_images // batch_size:
            yield (
                f"{WEIGHTS_FILE}: the statistics of {name.removesuffix(_COUNTER)!r} are those of "
                f"{int(count)} batches, by the record of the {num_images // batch_size} batches of "
                "recalibration"
            )


_COUNTER = ".num_batches_tracked"
