"""``lightning-sparse multirun``: points of a file, or typed, with no server. No torch in here."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from lightning_sparse.cli.slurm import submit_jobs
from lightning_sparse.errors import UserError
from lightning_sparse.execution.seeds import mean_summary
from lightning_sparse.execution.session import make_all, places
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.planning.multirun import chosen_points, part, plan_each, plan_points, where
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.plans import SweepSettings
from lightning_sparse.settings.sweep_file import (
    Point,
    Sweep,
)

_METRICS = {
    "train": "end/train_objective",
    "line": "path/largest_rise",
    "path": "path/largest_rise",
}


def run(settings: Composed, swept: Sequence[str] = ()) -> None:
    """Run the points that are missing; those that fail are named at the end.

    Args:
        settings: As composed from what has one value.
        swept: What was typed with several values.
    """
    console = Console()
    sweep, chosen = chosen_points(settings, swept)
    jobs = plan_points(sweep, chosen, settings)
    mine = part(jobs, settings.sweep.part)
    console.print(
        f"{sweep.name}: {len(chosen)} points, {len(jobs)} different runs"
        + ("" if len(mine) == len(jobs) else f", {len(mine)} of them here"),
        highlight=False,
    )
    at = places(where(sweep, chosen, settings), console, "sweep")
    make_all(mine, at, console, looked_at=jobs)
    if settings.sweep.seeds or sweep.method == "random":
        _compare(sweep, chosen, settings, console)


def submit(settings: Composed, swept: Sequence[str] = ()) -> None:
    """Submit the points that are missing: those that need nothing as an array, then the others."""
    sweep, chosen = chosen_points(settings, swept)
    submit_jobs(settings, plan_points(sweep, chosen, settings))


def _compare(sweep: Sweep, chosen: Sequence[Point], settings: Composed, console: Console) -> None:
    """Keep what every point has reached, and show the best; points of other parts may be missing.

    Raises:
        UserError: If the file's metric is no number of a run.
    """
    metric = sweep.body.get("metric") or {}
    name = metric.get("name", _METRICS[sweep.verb])
    entries = [
        _entry(point, jobs, name, settings.sweep)
        for point, jobs in zip(chosen, plan_each(sweep, chosen, settings), strict=True)
        if all(job.is_finished for job in jobs)
    ]
    file = Path(settings.runs_dir) / f"sweep_{sweep.name}.jsonl"
    write_text_atomic(file, "".join(json.dumps(entry) + "\n" for entry in entries))
    if entries:
        choose = max if metric.get("goal") == "maximize" else min
        best = choose(entries, key=lambda entry: entry["mean"])
        values = " ".join(f"{value:.6g}" for value in best["values"])
        text = (
            f"best of {len(entries)} points: {' '.join(best['point'])}: {name} {best['mean']:.6g}"
        )
        console.print(f"{text} ({values})", markup=False, highlight=False, soft_wrap=True)
    console.print(str(file), markup=False, highlight=False, soft_wrap=True)


def _entry(point: Point, jobs: Sequence[Job], metric: str, search: SweepSettings) -> dict[str, Any]:
    numbers = [mean_summary([job.record()]) for job in jobs]
    for known in numbers:
        if metric not in known:
            raise UserError(
                f"metric.name={metric}: is no number of a run; choose one of {', '.join(known)}"
            )
    values = [known[metric] for known in numbers]
    return {
        "point": list(point),
        "search_seed": search.seed,
        "seeds": search.seeds,
        "runs": [job.run_id for job in jobs],
        "metric": metric,
        "values": values,
        "mean": fmean(values),
    }
