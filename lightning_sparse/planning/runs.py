"""From settings to jobs: which run a command asks for, and which runs that one needs first.

No torch in here: planning a whole experiment takes two seconds, and composes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_sparse.arms import Arm, arm_of
from lightning_sparse.errors import UserError
from lightning_sparse.points import Moment, Point, parse_point
from lightning_sparse.records import RunRecord, read_record
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.identity import nominal_sparsity, path_id, run_dir, training_id
from lightning_sparse.settings.jobs import Job, PlannedPoint
from lightning_sparse.settings.objects import build_curve
from lightning_sparse.settings.shipped import choices
from lightning_sparse.settings.variants import of_runs, replaced, with_arm


def plan_training(settings: Composed, above: Sequence[str] = ()) -> Job:
    """Plan one training run, and before it the runs that its start and its masks are of.

    Args:
        settings: What it is trained with.
        above: Arms whose runs need this one.

    Raises:
        UserError: If an arm would have to be there before itself, or a source is none.
    """
    arm = arm_of(settings.method)
    if arm.name in above:
        raise UserError(
            f"method={arm.name}: needs itself, by way of {' -> '.join((*above, arm.name))}; begin "
            "with an arm that starts from a random stream and makes its own masks"
        )
    settings = _keeping(settings, arm)
    sources = _sources(settings, arm, above)
    run_ids = {name: point.run_id for name, point in sources.items()}
    run_id = training_id(
        settings,
        mask_source=run_ids.get("masks"),
        start_source=run_ids.get("start"),
        change_source=run_ids.get("start_changed_by"),
    )
    sparsity = f" at sparsity {nominal_sparsity(settings):g}" if arm.is_masked else ""
    start = "" if arm.is_masked else f" from {settings.method.start}"
    return Job(
        run_id=run_id,
        kind="train",
        title=f"train {arm.recorded_as}{start}{sparsity}, seed {settings.seed}",
        run_dir=run_dir(settings, run_id),
        settings=settings,
        points=sources,
        needs=_makers(sources.values()),
        cost=float(settings.training.num_steps),
    )


def _keeping(settings: Composed, arm: Arm) -> Composed:
    """Have a run keep the steps that its arm keeps, besides those that were asked for."""
    steps = sorted({*settings.capture_steps, *arm.keeps})
    if not arm.keeps or steps == settings.capture_steps:
        return settings
    return replaced(settings, {"capture_steps": steps})


def _sources(settings: Composed, arm: Arm, above: Sequence[str]) -> dict[str, PlannedPoint]:
    """Find the points that an arm's masks and start weights are of, if of any."""
    if arm.masks and (given := _given_run(settings)):
        _check_given_run(settings, given, arm.masks.run)
    own = settings.capture_steps or settings.run_learning_rate is not None
    others = replaced(settings, _OF_THIS_RUN) if own else settings

    def plan(field: str, point: Point) -> PlannedPoint:
        kept = [at.moment for at in arm.sources if at.run == point.run]
        steps = sorted({step for step in kept if isinstance(step, int)})
        field = f"method.{field}={point}"
        return _point(others, point, field, steps, (*above, arm.name))

    named = {"masks": arm.masks, "start": arm.start, "start_changed_by": arm.changed_by}
    return {field: plan(field, point) for field, point in named.items() if point}


def _makers(points: Iterable[PlannedPoint]) -> tuple[Job, ...]:
    """Return the jobs that make the runs of points, each once."""
    return tuple({point.run_id: point.job for point in points if point.job}.values())


# What is said of one run and of none that it needs.
_OF_THIS_RUN: Mapping[str, Any] = {"capture_steps": [], "run_learning_rate": None}


def _given_run(settings: Composed) -> RunRecord | None:
    """Read the record of the run that ``mask_source`` names, which stands for its arm's."""
    if settings.mask_source is None:
        return None
    folder = Path(settings.mask_source)
    remedy = "leave mask_source out to train the run, or name one that exists"
    return _finished_run(folder, f"mask_source={folder}", remedy)


def _check_given_run(settings: Composed, record: RunRecord, arm: str) -> None:
    """Refuse a run that cannot stand for that of an arm."""
    field = f"mask_source={settings.mask_source}"
    if record.arm != arm:
        raise UserError(f"{field}: is a {record.arm} run; name a run of method={arm}")
    wanted = nominal_sparsity(with_arm(settings, arm))
    if record.target_sparsity != wanted:
        raise UserError(
            f"{field}: was pruned to sparsity {record.target_sparsity:g}, not {wanted:g}; say "
            f"sparsity={record.target_sparsity:g}"
        )


def plan_path(settings: Composed) -> Job:
    """Plan a line or a curve, and the runs of both ends.

    Raises:
        UserError: If an end is unknown, or both are the same.
    """
    path = settings.path
    start, end = _ends(settings)
    sparsity = max(start.sparsity, end.sparsity)
    curve = build_curve(settings.curve)
    freed_by = _freed_by(settings) if curve.is_fitted else None
    run_id = path_id(
        settings,
        ends=(start.identity, end.identity),
        curve=curve.name,
        is_fitted=curve.is_fitted,
        sparsity=sparsity,
        freed_by=freed_by.identity if freed_by else None,
    )
    points = {"start": start, "end": end} | ({"freed_by": freed_by} if freed_by else {})
    kind = f"{curve.name} ({path.space})" if curve.is_fitted else curve.name
    kind += f" down the gradient {path.ray}" if path.ray else ""
    if curve.is_fitted and path.freed_share is not None:
        kind += f" with {path.freed_share:g} of the rest by {path.freed_order}"
    needs, cost = _makers(points.values()), 10.0 * settings.evaluation.num_points
    if path.spectrum is not None:
        kind = f"spectrum {path.spectrum} along {kind}"
        needs += (_curve_of_spectrum(settings, is_fitted=curve.is_fitted),)
        cost += float(path.num_probes * path.num_lanczos_steps * _STEPS_PER_PRODUCT)
    elif curve.is_fitted:
        cost += float(path.training.num_steps)
    return Job(
        run_id=run_id,
        kind="path",
        title=f"{kind} {start.name} to {end.name}, seed {settings.seed}",
        run_dir=run_dir(settings, run_id),
        settings=settings,
        points=points,
        needs=needs,
        cost=cost,
    )


_STEPS_PER_PRODUCT = 100
"""What a product with a matrix of second derivatives takes, in steps of a fit: roughly."""


def _curve_of_spectrum(settings: Composed, *, is_fitted: bool) -> Job:
    """Plan the curve along which a spectrum is asked for."""
    path = settings.path
    if not is_fitted or path.ray is not None:
        raise UserError(
            f"path.spectrum={path.spectrum}: is looked at along a fitted curve, which a straight "
            "line is not; say curve=quadratic"
        )
    return plan_path(replaced(settings, {"path.spectrum": None}))


def _freed_by(settings: Composed) -> PlannedPoint | None:
    """Find the point whose magnitudes order what a curve may use outside its mask."""
    path = settings.path
    if path.freed_share is not None and path.space == "dense":
        raise UserError(
            f"path.freed_share={path.freed_share}: frees some of what a mask leaves out, and "
            "path.space=dense leaves out nothing; choose path.space=end_mask"
        )
    if path.freed_share is None or path.freed_order != "magnitude":
        return None
    field = f"path.freed_by={path.freed_by}"
    return _point(settings, _parsed(field), field)


def _ends(settings: Composed) -> tuple[PlannedPoint, PlannedPoint]:
    """Find both ends of the path that the settings name, which must be two points."""
    path = settings.path
    fields = [f"path.start={path.start}", f"path.end={path.end}"]
    points = [_parsed(field) for field in fields]
    start, end = (
        _point(settings, point, field, _steps(settings, point.run, points))
        for point, field in zip(points, fields, strict=True)
    )
    if path.ray is not None:
        _check_ray(settings, start, end)
    elif start.identity == end.identity:
        raise UserError(
            f"path.start={path.start}, path.end={path.end}: are one point; a path needs two"
        )
    return start, end


def _check_ray(settings: Composed, start: PlannedPoint, end: PlannedPoint) -> None:
    """Refuse a ray that is no line from one point."""
    ray = f"path.ray={settings.path.ray}"
    if start.identity != end.identity:
        raise UserError(
            f"{ray}, path.start={start.name}, path.end={end.name}: a ray has one point; say "
            f"path.end={start.name} too"
        )
    if build_curve(settings.curve).is_fitted:
        raise UserError(f"{ray}: is a straight line; say curve=line")


def _parsed(field: str) -> Point:
    try:
        return parse_point(field.partition("=")[2])
    except UserError as error:
        raise UserError(f"{field.partition('=')[0]}: {error}") from None


def _steps(settings: Composed, run: str, points: Sequence[Point]) -> list[int]:
    """Return the steps whose weights a run has to keep, for itself and for both ends of a path."""
    asked = {point.moment for point in points if point.run == run}
    return sorted({*settings.capture_steps, *(step for step in asked if isinstance(step, int))})


def _point(
    settings: Composed,
    point: Point,
    field: str,
    capture_steps: Sequence[int] = (),
    above: Sequence[str] = (),
) -> PlannedPoint:
    """Find the run of an arm, or take a folder as it is; ``field`` is where the point was said."""
    folder, given = settings.mask_source, _given_run(settings)
    if folder and given and given.arm == point.run:
        _check_given_run(settings, given, point.run)
        return _recorded_point(str(point), Path(folder), point.moment, given)
    arms = choices("method")
    if point.run in arms:
        return _planned_point(settings, point, capture_steps, above)
    named = Path(point.run)
    record = _finished_run(named, field, f"train it first, or name an arm: {', '.join(arms)}")
    return _recorded_point(f"{record.run_id}:{point.moment}", named, point.moment, record)


def _planned_point(
    settings: Composed, point: Point, capture_steps: Sequence[int], above: Sequence[str]
) -> PlannedPoint:
    values = {}
    if isinstance(point.moment, int) or capture_steps != settings.capture_steps:
        values["capture_steps"] = [*capture_steps]
    of_arm = with_arm(of_runs(settings), point.run, values)
    job = plan_training(of_arm, above)
    return PlannedPoint(
        name=str(point),
        run_id=job.run_id,
        run_dir=job.run_dir,
        moment=point.moment,
        sparsity=nominal_sparsity(of_arm),
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
