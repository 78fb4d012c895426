"""Run ids: a readable stem and a hash of every setting that decides the result."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from lightning_sparse.arms import Arm, arm_of
from lightning_sparse.decoding import plain
from lightning_sparse.errors import UserError
from lightning_sparse.fields import PATH, RECALIBRATED, RUN
from lightning_sparse.paths.curves import slug
from lightning_sparse.points import parse_point
from lightning_sparse.records import Record, RunRecord
from lightning_sparse.settings.recorded import recorded_settings
from lightning_sparse.settings.tree import Settings, deciding

# What stands in ids in other words is left out.
_OF_RUNS = deciding(RUN, apart={"method", "capture_steps", "recalibrate_batch_norm"})
_OF_RECALIBRATION = ("recalibrate_batch_norm", *deciding(RECALIBRATED))
_OF_PATHS = deciding(PATH, apart={"experiment_name", "curve", "path"})

# As in ids from when there were no other curves.
_LINE, _BEZIER = (f"lightning_sparse.paths.curves.{name}" for name in ("Line", "Bezier"))


def decisive(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    """Pick the settings called ``names`` (dotted), leaving out those that are null.

    A setting that is added to the program later, with null for "as before", thus leaves the ids of
    all earlier runs as they were.
    """
    picked = {name: _look_up(settings, name) for name in names}
    return _without_nulls(
        {
            name: _without_nulls(value) if isinstance(value, dict) else value
            for name, value in picked.items()
        }
    )


def training_id(
    settings: Settings,
    *,
    mask_source: str | None = None,
    start_source: str | None = None,
    change_source: str | None = None,
    published: str | None = None,
) -> str:
    """Return the id of a training run, for example ``digits-prune-s0.98-seed11-1f0a93bd``.

    Args:
        settings: What it is trained with.
        mask_source: Id of the run whose masks it is given.
        start_source: Id of the run whose weights it starts from.
        change_source: Id of the run whose weights its start is changed by.
        published: Hash of the file that it was taken from, if it was trained elsewhere.
    """
    method, arm = settings.method, arm_of(settings.method)
    parts = decisive(settings, _OF_RUNS)
    # In the words of when start and masks came from one pruned run or none.
    parts["method"] = {
        "name": arm.recorded_as,
        "start": arm.stream,
        "needs_masks": arm.masks is not None,
        "rewound": arm.start is not None,
        "sparse_method": method.sparse_method,
    }
    if method.start_change:
        by = f"{change_source}:{arm.changed_by.moment}" if arm.changed_by else None
        parts["start_change"] = [method.start_change, by]
    if settings.recalibrate_batch_norm:
        parts |= decisive(settings, _OF_RECALIBRATION)
    if mask_source:
        parts["mask_source"] = mask_source
    if arm.start and (start_source != mask_source or arm.start.moment == "end"):
        parts["start_source"] = f"{start_source}:{arm.start.moment}"
    elif arm.first_step:
        parts["rewind_step"] = arm.first_step
    if settings.capture_steps:
        parts["capture_steps"] = settings.capture_steps
    # What was trained elsewhere is what its file says it is, whatever the settings.
    if published:
        parts["published"] = published
    stem = [settings.experiment_name, arm.recorded_as]
    stem += [f"s{nominal_sparsity(settings)}"] if arm.is_masked else [_start_words(arm)]
    return _name([*stem, f"seed{settings.seed}"], parts)


def path_id(
    settings: Settings,
    *,
    ends: tuple[str, str],
    curve: str,
    is_fitted: bool,
    sparsity: float,
    freed_by: str | None = None,
) -> str:
    """Return the id of a path between two points, given as run id and moment.

    Args:
        settings: What the path is made with.
        ends: Where it starts, and where it ends.
        curve: Name of its shape.
        is_fitted: Whether that was fitted.
        sparsity: Nominal sparsity of its sparser end, in [0, 1); shown if there is any.
        freed_by: The point whose magnitudes order what is freed, as run id and moment; None.
    """
    path, (start, end) = settings.path, ends
    parts = decisive(settings, _OF_PATHS)
    parts |= {"start": start, "end": end, **_shape(settings)}
    parts["weight_decay"] = path.training.weight_decay
    kind = [_short_curve(settings, curve)]
    if path.ray is not None:
        parts["ray"] = path.ray
        kind.append(f"ray-{path.ray}")
    if is_fitted:
        parts |= {"space": path.space, "training": _without_nulls(plain(path.training))}
        kind.append(path.space)
        if path.steps_multiplier:
            parts["steps_multiplier"] = path.steps_multiplier
            kind.append(f"x{path.steps_multiplier}")
        if path.freed_share is not None:
            parts["freed"] = [path.freed_share, path.freed_order, freed_by]
            kind.append(f"free{path.freed_share:g}-{path.freed_order}")
        if path.search_seed is not None:
            parts["search_seed"] = path.search_seed
            kind.append(f"search{path.search_seed}")
        if path.spectrum is not None:
            parts["spectrum"] = [path.spectrum, path.num_probes, path.num_lanczos_steps]
            kind.append(f"spectrum-{path.spectrum}")
    names = [_short(path.start, start), "to", _short(path.end, end)]
    shown = [f"s{sparsity}"] if sparsity else []
    stem = [settings.experiment_name, *names, *kind, *shown]
    return _name([*stem, f"seed{settings.seed}"], parts)


def recorded_id(record: Record) -> str:
    """Return the id that a finished run or path has by the settings in its record.

    A setting that a record of an earlier version lacks is null, which means "as before".

    Raises:
        UserError: If the record lacks settings that every version has.
    """
    try:
        settings = recorded_settings(record.config)
        if isinstance(record, RunRecord):
            source = record.start_source or record.mask_source
            return training_id(
                settings,
                mask_source=record.mask_source,
                start_source=source,
                change_source=record.change_source,
                published=(record.config.get("published") or {}).get("sha256"),
            )
        ends = (
            f"{record.start_run}:{record.start_point.moment}",
            f"{record.end_run}:{record.end_point.moment}",
        )
        return path_id(
            settings,
            ends=ends,
            curve=record.curve,
            is_fitted=record.is_fitted,
            sparsity=record.target_sparsity,
            freed_by=record.freed_by,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"record.json: config lacks settings that decide the run ({error})"
        ) from None


def nominal_sparsity(settings: Settings) -> float:
    """Return what an arm's masks are asked for, in [0, 1); 0 where it has none."""
    if not arm_of(settings.method).is_masked:
        return 0.0
    own = settings.method.sparsity
    return settings.sparsity if own is None else own


def run_dir(settings: Settings, run_id: str) -> Path:
    """Return the folder of a run: a pure function of its id."""
    return Path(settings.runs_dir) / run_id


def _start_words(arm: Arm) -> str:
    start = str(arm.start or arm.stream)
    return re.sub(r"[^\w.-]", "_", start)


def _without_nulls(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value is not None}


def _name(stem: Sequence[str], parts: dict[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return "-".join([*stem, hashlib.sha256(text.encode()).hexdigest()[:8]])


def _shape(settings: Settings) -> Mapping[str, Any]:
    """Return what of the settings says which curve it is: of a Bezier curve its degree alone."""
    curve = settings.curve
    degree = 1 if curve["_target_"] == _LINE else curve.get("degree")
    return {"degree": degree} if curve["_target_"] in {_LINE, _BEZIER} else {"curve": curve}


def _short_curve(settings: Settings, name: str) -> str:
    degree = _shape(settings).get("degree")
    short = "line" if degree == 1 else f"degree{degree}"
    return short if degree else slug(name)


def _short(text: str, identity: str) -> str:
    """Write a point of an arm as ids have it: ``S-end``; what was named by its folder is custom."""
    point = parse_point(text)
    is_folder = "/" in point.run or text == identity
    return "custom" if is_folder else point.letters or f"{point.run}-{point.moment}"


def _look_up(settings: Settings, name: str) -> Any:
    value: Any = attrgetter(name)(settings)
    return plain(value) if is_dataclass(value) else value
