"""Which runs the points of a sweep need: of a file, or typed. No torch in here."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lightning_sparse.errors import UserError
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.settings.compose import Composed, compose_settings, latest
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.older_words import in_todays_words
from lightning_sparse.settings.sweep_file import (
    Point,
    Sweep,
    expand,
    points,
    read_sweep,
    typed_sweep,
)
from lightning_sparse.settings.variants import one_device_each, with_curve


def chosen_points(settings: Composed, swept: Sequence[str]) -> tuple[Sweep, list[Point]]:
    """Return the points of the file that was named, or those that were typed.

    Raises:
        UserError: If both were given, or neither.
    """
    if not swept:
        sweep = read_sweep(sweep_name(settings))
        return sweep, points(sweep, settings.sweep.seed)
    if settings.sweep.file is not None:
        raise UserError(
            f"sweep.file={settings.sweep.file}, {' '.join(swept)}: give a file, or settings "
            "with several values, not both"
        )
    return typed_sweep(settings.sweep.verb), expand(swept)


def sweep_name(settings: Composed) -> str:
    """Return which file was asked for."""
    name = settings.sweep.file
    if name is None:
        raise UserError(
            "sweep.file is not given; name one, for example sweep.file=gap (for multirun "
            "settings with several values do too: method=dense,prune seed=21,22)"
        )
    return str(name)


def plan_points(sweep: Sweep, chosen: Sequence[Point], settings: Composed) -> list[Job]:
    """Plan a job for each point, each run once; a setting that does not exist is found here.

    Args:
        sweep: Where the points come from.
        chosen: They.
        settings: What was typed wins over the file, but for the file's own parameters.

    Raises:
        UserError: If a point's settings do not exist or do not fit.
    """
    by_point = plan_each(sweep, chosen, settings)
    return list({job.run_id: job for jobs in by_point for job in jobs}.values())


def passed_on(settings: Composed) -> list[str]:
    """Return the settings that were typed for the points, not for the sweep."""
    return [
        item
        for item in settings.source.words
        if not item.startswith("sweep.") or item.startswith("sweep.seeds=")
    ]


def plan_each(sweep: Sweep, chosen: Sequence[Point], settings: Composed) -> list[list[Job]]:
    """Plan the runs of each point: one, or one for every seed."""
    # Where runs are logged to is for whoever typed the command.
    said = [*sweep.overrides, *passed_on(settings)]
    common = _common(sweep, settings)
    seeds = settings.sweep.seeds
    for item in (*(item for point in chosen for item in point), *said):
        if seeds and item.startswith("seed="):
            raise UserError(
                f"sweep.seeds={seeds}, {item}: the sweep says itself which seeds it takes; leave "
                "one of them out"
            )
    each = [[f"seed={seed}"] for seed in seeds] or [[]]
    return [[_plan(sweep, [*common, *point, *seed]) for seed in each] for point in chosen]


def _common(sweep: Sweep, settings: Composed) -> list[str]:
    """Return what every point is given: what the file says, and what was typed."""
    return [
        *(item for item in sweep.overrides if not item.startswith("logger")),
        *(item for item in passed_on(settings) if not item.startswith("sweep.")),
    ]


def where(sweep: Sweep, chosen: Sequence[Point], settings: Composed) -> Composed:
    """Return the settings of the first point: all of a sweep train in the same place."""
    first = chosen[0] if chosen else ()
    return replace(_compose(sweep, [*_common(sweep, settings), *first]), sweep=settings.sweep)


def part(jobs: Sequence[Job], share: str | None) -> list[Job]:
    """Return every N-th job from the I-th on, for ``I/N``; all if there is no share.

    Raises:
        UserError: If it is not written like that.
    """
    if share is None:
        return list(jobs)
    found = re.fullmatch(r"(\d+)/(\d+)", share)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"sweep.part={share}: write I/N with I from 1 to N, for example 2/8")
    return list(jobs)[int(found[1]) - 1 :: int(found[2])]


def _plan(sweep: Sweep, overrides: Sequence[str]) -> Job:
    settings = one_device_each(_compose(sweep, overrides))
    with _naming(sweep):
        return plan_training(settings) if sweep.verb == "train" else plan_path(settings)


def _compose(sweep: Sweep, overrides: Sequence[str]) -> Composed:
    with _naming(sweep):
        settings = compose_settings(latest(in_todays_words(overrides)))
        return with_curve(settings, "line") if sweep.verb == "line" else settings


@contextlib.contextmanager
def _naming(sweep: Sweep) -> Iterator[None]:
    """Name the sweep's file in what is wrong with its points."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{Path(sweep.file).name}: {error}") from error
