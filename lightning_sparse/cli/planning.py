"""From settings to jobs: which run a command asks for, and which runs that one needs first.

No torch in here: planning a whole experiment takes two seconds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_sparse.cli.compose import Settings, with_values
from lightning_sparse.cli.identity import path_id, run_dir, training_id
from lightning_sparse.cli.objects import build_curve
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import Job
from lightning_sparse.records import RunRecord, read_record


@dataclass(frozen=True, kw_only=True)
class Point:
    """A named point: which arm's run it belongs to, and its start or its end."""

    overrides: tuple[str, ...]
    moment: Literal["start", "end"]


_DENSE_FROM_SCRATCH_START = ("method=dense", "method.start=init/scratch")

POINTS = {
    "D-start": Point(overrides=("method=dense",), moment="start"),
    "L-start": Point(overrides=("method=lottery",), moment="start"),
    "S-start": Point(overrides=("method=scratch",), moment="start"),
    "D-end": Point(overrides=("method=dense",), moment="end"),
    "D2-end": Point(overrides=_DENSE_FROM_SCRATCH_START, moment="end"),
    "P-end": Point(overrides=("method=prune",), moment="end"),
    "S-end": Point(overrides=("method=scratch",), moment="end"),
    "L-end": Point(overrides=("method=lottery",), moment="end"),
}


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """One end of a path: its name, the run it is read from, and the job that makes that run.

    Attributes:
        name: As in `POINTS`, or folder and moment.
        run_id: Of the run.
        run_dir: Its folder.
        moment: Which end of the run.
        sparsity: Nominal sparsity of the run, in [0, 1); 0 if it is dense.
        job: What makes the run; None if it was there before and was named by its folder.
    """

    name: str
    run_id: str
    run_dir: Path
    moment: Literal["start", "end"]
    sparsity: float
    job: Job | None

    @property
    def identity(self) -> str:
        """Run id and moment, which a path's own id is made from."""
        return f"{self.run_id}:{self.moment}"


def plan_training(settings: Settings) -> Job:
    """Plan one training run, and the pruned run before it if it needs masks."""
    method = settings["method"]
    if method["name"] == "prune" and settings["rewind_step"]:
        return plan_pruned_run(settings)
    needs: tuple[Job, ...] = ()
    mask_source = None
    if method["needs_masks"]:
        if settings["mask_source"] is None:
            pruned = plan_pruned_run(settings)
            needs, mask_source = (pruned,), pruned.run_id
        else:
            mask_source = given_mask_source(settings).run_id
    run_id = training_id(settings, mask_source=mask_source)
    sparsity = "" if method["name"] == "dense" else f" at sparsity {settings['sparsity']:g}"
    start = f" from {method['start']}" if method["name"] == "dense" else ""
    return Job(
        run_id=run_id,
        kind="train",
        title=f"train {method['name']}{start}{sparsity}, seed {settings['seed']}",
        run_dir=run_dir(settings, run_id),
        overrides=tuple(settings["overrides"]),
        needs=needs,
        cost=float(settings["training"]["num_steps"]),
    )


def plan_pruned_run(settings: Settings) -> Job:
    """Plan the pruned run that masks come from; it keeps the weights to rewind to."""
    step = settings["rewind_step"]
    captured = settings["capture_steps"] if settings["method"]["name"] == "prune" else []
    steps = sorted({*captured, *([step] if step else [])})
    overrides = ["method=prune", "rewind_step=0", f"capture_steps={steps}"]
    if settings["method"]["name"] != "prune" and settings["run_learning_rate"] is not None:
        overrides.append("run_learning_rate=null")
    return plan_training(with_values(settings, overrides))


def given_mask_source(settings: Settings) -> RunRecord:
    """Read the record of the pruned run that ``mask_source`` names.

    Raises:
        UserError: If it is no finished pruned run, or one of another sparsity.
    """
    folder = Path(settings["mask_source"])
    field = f"mask_source={folder}"
    record = _finished_run(
        folder, field, "leave mask_source out to train the pruned run, or name one that exists"
    )
    if record.method != "prune":
        raise UserError(f"{field}: is a {record.method} run; name a run of method=prune")
    if record.target_sparsity != settings["sparsity"]:
        raise UserError(
            f"{field}: was pruned to sparsity {record.target_sparsity:g}, not "
            f"{settings['sparsity']:g}; say sparsity={record.target_sparsity:g}"
        )
    return record


def plan_path(settings: Settings) -> Job:
    """Plan a line or a curve, and the runs of both ends."""
    path = settings["path"]
    start, end = plan_ends(settings)
    sparsity = max(start.sparsity, end.sparsity)
    curve = build_curve(settings)
    run_id = path_id(
        settings,
        start=start.identity,
        end=end.identity,
        curve=curve.name,
        is_fitted=curve.is_fitted,
        sparsity=sparsity,
    )
    kind = f"{curve.name} ({path['space']})" if curve.is_fitted else curve.name
    steps = path["training"]["num_steps"] if curve.is_fitted else 0
    return Job(
        run_id=run_id,
        kind="path",
        title=f"{kind} {start.name} to {end.name}, seed {settings['seed']}",
        run_dir=run_dir(settings, run_id),
        overrides=tuple(settings["overrides"]),
        needs=tuple(point.job for point in (start, end) if point.job),
        cost=float(steps) + 10.0 * settings["evaluation"]["num_points"],
    )


def plan_ends(settings: Settings) -> tuple[PlannedPoint, PlannedPoint]:
    """Find both ends of the path that the settings name.

    Raises:
        UserError: If an end is unknown, or both are the same.
    """
    path = settings["path"]
    start, end = (plan_point(settings, path[end], f"path.{end}") for end in ("start", "end"))
    if start.identity == end.identity:
        raise UserError(
            f"path.start={path['start']}, path.end={path['end']}: are one point; a path needs two"
        )
    return start, end


def plan_point(settings: Settings, name: str, field: str) -> PlannedPoint:
    """Find a point by name, or take ``folder:start`` or ``folder:end`` as it is.

    Raises:
        UserError: If it is neither.
    """
    if name == "P-end" and settings["mask_source"] is not None:
        return _recorded_point(
            name, Path(settings["mask_source"]), "end", given_mask_source(settings)
        )
    if name in POINTS:
        return _named_point(settings, name)
    folder, _, moment = name.rpartition(":")
    if moment not in {"start", "end"} or not folder:
        raise UserError(
            f"{field}={name}: name one of {', '.join(POINTS)}, or a run folder and a "
            "moment such as runs/x:end"
        )
    record = _finished_run(Path(folder), f"{field}={name}", "train it first")
    chosen: Literal["start", "end"] = "start" if moment == "start" else "end"
    return _recorded_point(f"{record.run_id}:{moment}", Path(folder), chosen, record)


def _named_point(settings: Settings, name: str) -> PlannedPoint:
    point = POINTS[name]
    # How a path is made says nothing of the runs at its ends, which thus are composed once for all.
    general = [item for item in settings["overrides"] if not item.startswith(("path.", "curve"))]
    job = plan_training(with_values({**settings, "overrides": general}, point.overrides))
    return PlannedPoint(
        name=name,
        run_id=job.run_id,
        run_dir=job.run_dir,
        moment=point.moment,
        sparsity=0.0 if "method=dense" in point.overrides else settings["sparsity"],
        job=job,
    )


def _recorded_point(
    name: str, folder: Path, moment: Literal["start", "end"], record: RunRecord
) -> PlannedPoint:
    return PlannedPoint(
        name=name,
        run_id=record.run_id,
        run_dir=folder,
        moment=moment,
        sparsity=record.target_sparsity,
        job=None,
    )


def _finished_run(folder: Path, field: str, remedy: str) -> RunRecord:
    if not folder.is_dir():
        raise UserError(f"{field}: there is no such run folder; {remedy}")
    record = read_record(folder)
    if not isinstance(record, RunRecord):
        raise UserError(f"{field}: holds a path; name the folder of a training run")
    return record
