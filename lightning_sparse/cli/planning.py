"""From settings to jobs: which run a command asks for, and which runs that one needs first.

No torch in here: planning a whole experiment takes two seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_sparse.cli.compose import Settings, with_values
from lightning_sparse.cli.identity import path_id, run_dir, training_id
from lightning_sparse.cli.objects import build_curve
from lightning_sparse.cli.shipped import choices
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import Job
from lightning_sparse.points import SECOND_DENSE, Moment, Point, parse_point
from lightning_sparse.records import RunRecord, read_record


@dataclass(frozen=True, kw_only=True)
class PlannedPoint:
    """One end of a path: its name, the run it is read from, and the job that makes that run.

    Attributes:
        name: The point, as records have it.
        run_id: Of the run.
        run_dir: Its folder.
        moment: When in the run.
        sparsity: Nominal sparsity of the run, in [0, 1); 0 if it is dense.
        job: What makes the run; None if it was there before and was named by its folder.
    """

    name: str
    run_id: str
    run_dir: Path
    moment: Moment
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
    fields = [f"path.{name}={path[name]}" for name in ("start", "end")]
    points = [_parsed(field) for field in fields]
    start, end = (
        plan_point(settings, point, field, _steps(settings, point.run, points))
        for point, field in zip(points, fields, strict=True)
    )
    if start.identity == end.identity:
        raise UserError(
            f"path.start={path['start']}, path.end={path['end']}: are one point; a path needs two"
        )
    return start, end


def _parsed(field: str) -> Point:
    try:
        return parse_point(field.partition("=")[2])
    except UserError as error:
        raise UserError(f"{field.partition('=')[0]}: {error}") from None


def _steps(settings: Settings, run: str, points: Sequence[Point]) -> list[int]:
    """Return the steps whose weights a run has to keep, for itself and for both ends of a path."""
    asked = {point.moment for point in points if point.run == run}
    return sorted({*settings["capture_steps"], *(step for step in asked if isinstance(step, int))})


def plan_point(
    settings: Settings, point: Point, field: str, capture_steps: Sequence[int] = ()
) -> PlannedPoint:
    """Find the run of an arm, or take a folder as it is.

    Args:
        settings: What the arm's run is trained with.
        point: The point.
        field: Where it was said, for messages.
        capture_steps: Steps whose weights the arm's run keeps.

    Raises:
        UserError: If there is neither.
    """
    if point.run == "prune" and settings["mask_source"] is not None:
        record, folder = given_mask_source(settings), Path(settings["mask_source"])
        return _recorded_point(str(point), folder, point.moment, record)
    if point.run in arms():
        return _planned_point(settings, point, capture_steps)
    folder = Path(point.run)
    record = _finished_run(folder, field, f"train it first, or name an arm: {', '.join(arms())}")
    return _recorded_point(f"{record.run_id}:{point.moment}", folder, point.moment, record)


def arms() -> list[str]:
    """Return the names of all arms: the files in ``conf/method/``, and the second dense run."""
    return [*choices("method"), SECOND_DENSE]


def of_arm(name: str) -> list[str]:
    """Return the overrides that make a training run one of an arm."""
    if name == SECOND_DENSE:
        return ["method=dense", "method.start=init/scratch"]
    return [f"method={name}"]


def _planned_point(settings: Settings, point: Point, capture_steps: Sequence[int]) -> PlannedPoint:
    overrides = of_arm(point.run)
    if isinstance(point.moment, int) or capture_steps != settings["capture_steps"]:
        overrides.append(f"capture_steps={[*capture_steps]}")
    # How a path is made says nothing of the runs at its ends, which thus are composed once for all.
    general = [item for item in settings["overrides"] if not item.startswith(("path.", "curve"))]
    composed = with_values({**settings, "overrides": general}, overrides)
    job = plan_training(composed)
    return PlannedPoint(
        name=str(point),
        run_id=job.run_id,
        run_dir=job.run_dir,
        moment=point.moment,
        sparsity=0.0 if composed["method"]["name"] == "dense" else composed["sparsity"],
        job=job,
    )


def _recorded_point(name: str, folder: Path, moment: Moment, record: RunRecord) -> PlannedPoint:
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
