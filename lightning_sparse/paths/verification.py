"""Does what a finished path left behind agree with its record and with the runs at its ends?

As in `lightning_sparse.training.verification`, the network is not built.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.control_points import CONTROL_POINTS_FILE
from lightning_sparse.paths.curves import AbstractCurve, Bezier, Line, own_curve
from lightning_sparse.paths.end_points import EndPoint, load_end_point
from lightning_sparse.paths.geometry import curve_length
from lightning_sparse.paths.settings import Space
from lightning_sparse.paths.spectra import problems_of_spectra
from lightning_sparse.paths.subspace import subspace_masks
from lightning_sparse.points import parse_point
from lightning_sparse.records import STRAIGHT_LINE, PathRecord
from lightning_sparse.sparsity.masks import Masks, full_masks
from lightning_sparse.training.run import START_FILE
from lightning_sparse.training.verification import (
    differing_settings,
    equal_weights,
    misfits,
    same_tensors,
)

_ROUNDING = 1e-6
"""Relative; lengths are sums of squares in double precision, in the order of the parameters."""

_RENEWED = {"recalibrated", "recalibrated_plain", "batch"}

State = Mapping[str, Tensor]


def problems_of_path(
    record: PathRecord, run_dir: Path, curve: AbstractCurve | None = None
) -> Iterator[str]:
    """Yield one line for everything in the folder that does not agree.

    Compared are the recorded settings with the record's own fields, the ends of a curve with the
    runs at its ends if they lie beside it, its control points with the masks they must stay in, and
    its recorded length and distance with those of the control points. Ends from two streams must
    have had two starts, and statistics that were computed anew must not give the numbers of those
    that each end came with.

    Args:
        record: The path's.
        run_dir: Its folder.
        curve: Its shape, where that is a class from elsewhere that may be built; if None, control
            points of such a curve are not counted, and its length is not measured.
    """
    try:
        curve = curve or _own_curve(record)
    except UserError as error:
        yield f"record.json: {error}"
    yield from _differing_fields(record, curve)
    yield from _odd_numbers(record)
    ends: list[EndPoint | None] = []
    points = ((record.start_point, record.start_run), (record.end_point, record.end_run))
    for point, run_id in points:
        folder = run_dir.parent / run_id
        try:
            is_there = folder.is_dir()
            ends.append(load_end_point(folder, point.moment, name=str(point)) if is_there else None)
        except UserError as error:
            ends.append(None)
            yield f"cannot be compared with {run_id}: {error}"
    yield from _equal_starts(run_dir, ends)
    for t, end in zip((0.0, 1.0), ends, strict=True):
        if end is not None:
            yield from _wrong_statistics(record, t, end)
    if record.spectrum is not None:
        yield from problems_of_spectra(record, run_dir)
    elif record.is_fitted or (curve and curve.is_fitted):
        yield from _wrong_curve(record, run_dir, ends, curve)


def _own_curve(record: PathRecord) -> AbstractCurve | None:
    if record.degree is None:
        return own_curve(record.config.get("curve"))
    return Line() if record.degree == 1 else Bezier(record.degree)


def _differing_fields(record: PathRecord, curve: AbstractCurve | None) -> Iterator[str]:
    expected: dict[str, Any] = {
        "experiment_name": record.experiment,
        "seed": record.seed,
        "evaluation.batch_norm": record.batch_norm,
        "path.ray": record.ray,
        "path.spectrum": record.spectrum,
    }
    if record.degree is not None:
        expected["path.degree"] = record.degree
    if record.is_fitted:
        expected |= {"path.space": record.space, "path.training.num_steps": record.num_steps}
    yield from differing_settings(record.config, expected)
    if curve is not None and curve.name != record.curve:
        yield f"record.json: curve={record.curve!r}, but config has a {curve.name}"
    if curve is not None and curve.is_fitted and not record.is_fitted:
        yield f"record.json: is a {curve.name}, yet has no fit_objective"


def _odd_numbers(record: PathRecord) -> Iterator[str]:
    """Say what no path has: points out of order, a curve shorter than its chord, a fitted line."""
    ts = [point.t for point in record.points]
    if not all(t < later for t, later in itertools.pairwise(ts)):
        yield "record.json: its points are not in increasing t"
    if record.length < record.distance * (1 - _ROUNDING):
        yield f"record.json: length={record.length} is below the distance {record.distance}"
    is_line = record.curve == STRAIGHT_LINE
    if is_line and (record.num_steps or record.fit_objective is not None):
        yield f"record.json: is a line, yet was fitted for num_steps={record.num_steps}"
    if is_line and not _close(record.length, record.distance):
        yield f"record.json: is a line, yet length={record.length} is not {record.distance}"


def _equal_starts(run_dir: Path, ends: Sequence[EndPoint | None]) -> Iterator[str]:
    first, second = ends
    if first is None or second is None or first.run.start == second.run.start:
        return
    try:
        starts = [
            load_tensors(run_dir.parent / end.run.run_id / START_FILE) for end in (first, second)
        ]
    except UserError:  # said where that run is verified
        return
    masks = (
        first.masks
        or second.masks
        or full_masks(
            {name: weight for name, weight in starts[0].items() if name in first.run.layers}
        )
    )
    if equal_weights(starts[0], starts[1], masks):
        yield (
            f"{first.run.run_id} from {first.run.start} and {second.run.run_id} from "
            f"{second.run.start} start with the same weights: the network's constructor "
            "seeds itself"
        )


def _wrong_statistics(record: PathRecord, t: float, end: EndPoint) -> Iterator[str]:
    """Compare the loss at an end with that of its run, which had its own running statistics."""
    was_said = any(remark.startswith("not recalibrated") for remark in record.remarks or ())
    has_statistics = any("running_" in name for name in end.state)
    if parse_point(end.name).moment != "end" or was_said or not has_statistics:
        return
    measured = [point.test.loss for point in record.points if point.t == t]
    is_renewed = record.batch_norm in _RENEWED and not end.run.config.get("recalibrate_batch_norm")
    if is_renewed and end.run.test.loss in measured:
        yield (
            f"record.json: its statistics are {record.batch_norm}, yet at t = {t:g} its numbers "
            f"are those of {end.run.run_id} with its own"
        )


def _wrong_curve(
    record: PathRecord,
    run_dir: Path,
    ends: list[EndPoint | None],
    curve: AbstractCurve | None,
) -> Iterator[str]:
    try:
        points = _control_points(run_dir / CONTROL_POINTS_FILE, curve.num_points if curve else None)
    except UserError as error:
        yield str(error)
        return
    for place, end in ((0, ends[0]), (len(points) - 1, ends[-1])):
        if end is not None and not same_tensors(_like(end.state, points[place]), points[place]):
            yield (
                f"{CONTROL_POINTS_FILE}: control point {place} is not the "
                f"{parse_point(end.name).moment} of "
                f"{end.run.run_id}"
            )
    yield from _outside_subspace(record, points[1:-1], ends)
    stacked = torch.stack([torch.cat([w.flatten() for w in point.values()]) for point in points])
    found = {"distance": float((stacked[-1] - stacked[0]).double().norm())}
    if curve is not None:
        found["length"] = curve_length(curve, stacked)
    for name, value in found.items():
        if not _close(value, getattr(record, name)):
            yield (f"record.json: {name}={getattr(record, name)}, the control points' is {value}")


def _control_points(file: Path, expected: int | None) -> Sequence[State]:
    """Read all points of a curve, the ends included, each as its named parameters.

    Args:
        file: What a fit has left.
        expected: How many there are; None if only the curve's class could say.

    Raises:
        UserError: If there are more or fewer, or they are not of one network.
    """
    points: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_tensors(file).items():
        place, _, parameter = name.partition("/")
        points.setdefault(place, {})[parameter] = tensor
    last = (len(points) if expected is None else expected) - 1
    # Counted first: a damaged record may name any number.
    if len(points) != last + 1 or points.keys() != {str(place) for place in range(last + 1)}:
        raise UserError(f"{file.name}: holds points {', '.join(points)}, not 0 to {last}")
    ordered = [points[str(place)] for place in range(last + 1)]
    shapes = [{name: (w.shape, w.dtype) for name, w in point.items()} for point in ordered]
    if any(shape != shapes[0] for shape in shapes) or not shapes[0]:
        raise UserError(f"{file.name}: its points have parameters of different shapes")
    return ordered


def _outside_subspace(
    record: PathRecord, inner: Sequence[State], ends: list[EndPoint | None]
) -> Iterator[str]:
    start, end = ends
    if start is None or end is None:
        return
    try:
        masks = subspace_masks(cast("Space", record.space), start.masks, end.masks)
    except UserError as error:
        yield f"record.json: {error}"
        return
    if record.freed_share is not None and masks is not None:
        yield from _beyond_share(record.freed_share, masks, inner)
        return
    for place, point in enumerate(inner, start=1):
        for line in misfits(masks or {}, point, masked=True):
            yield f"{CONTROL_POINTS_FILE}: control point {place}: {line}"


def _beyond_share(share: float, masks: Masks, inner: Sequence[State]) -> Iterator[str]:
    """Say where control points use more than a share of what masks leave out, whichever it is."""
    for name, mask in masks.items():
        used = torch.stack([point[name] != 0 for point in inner]).any(dim=0) & ~mask
        if int(used.sum()) > share * int((~mask).sum()):
            yield (
                f"{CONTROL_POINTS_FILE}: {name!r} uses {int(used.sum())} of {int((~mask).sum())} "
                f"coordinates outside the mask, freed_share={share} allows fewer"
            )


def _like(state: State, point: State) -> State:
    """Leave out what is no parameter of the curve: buffers."""
    return {name: tensor for name, tensor in state.items() if name in point}


def _close(value: float, other: float) -> bool:
    return math.isclose(value, other, rel_tol=_ROUNDING, abs_tol=1e-12)
