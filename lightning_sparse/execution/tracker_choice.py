"""Trackers from settings: which one a run gets, and whether it can be reached. No torch at import.

W&B is imported by whoever asks for it, since that takes a second.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_sparse.decoding import plain
from lightning_sparse.errors import UserError
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.tracking.tracker import AbstractTracker, NoTracker, TrackedRun

_MODES = ("online", "offline")
_REACH_SECONDS = 20


def check_tracker(settings: Composed) -> None:
    """See that the tracker can be used before anything is begun.

    A run that is begun goes on without its tracker; so does a job that SLURM has started again, and
    the agent of a sweep has been in touch with the server already.

    Raises:
        UserError: If there is no key, or no server answers.
    """
    logger = settings.logger
    if logger.name != "wandb":
        return
    mode = logger.mode
    if mode is not None and mode not in _MODES:
        raise UserError(f"logger.mode={mode}: choose one of {', '.join(_MODES)}, or null")
    mode = mode or os.environ.get("WANDB_MODE", "online")
    is_begun = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    if mode == "online" and not is_begun and "WANDB_SWEEP_ID" not in os.environ:
        require_server()


def require_server() -> None:
    """Log in to W&B.

    Raises:
        UserError: If there is no key, it is not accepted, or no server answers.
    """
    import wandb

    from lightning_sparse.tracking.wandb_service import bound_its_end

    try:
        viewer = wandb.Api(timeout=_REACH_SECONDS).viewer
    except (wandb.Error, ValueError, OSError) as error:
        raise UserError(_unreachable(error)) from error
    finally:
        # W&B's service ends with this process, and what is started from here may outlive it.
        os.environ.pop("WANDB_SERVICE", None)
        bound_its_end()
    if viewer is None:
        raise UserError(_unreachable("the key is not accepted"))


def _unreachable(reason: object) -> str:
    return (
        f"logger=wandb: {' '.join(str(reason).split())} Set WANDB_API_KEY (or run `wandb login`) "
        "and see that the network is there; or log offline with logger.mode=offline and send it "
        "later with `wandb sync`"
    )


def tracker_for(
    settings: Composed, job: Job, config: Mapping[str, Any], *, is_sweep_point: bool
) -> AbstractTracker:
    """Build the tracker of one run.

    Args:
        settings: Its settings; ``logger`` chooses.
        job: The run.
        config: What the tracker keeps of the settings.
        is_sweep_point: Whether the agent of a sweep asked for this run.
    """
    method, path = settings.method.name, settings.path
    what = method if job.kind == "train" else f"{path.start} to {path.end}"
    run = TrackedRun(
        run_id=job.run_id,
        kind=job.kind,
        group=group_of(job.run_id),
        tags=(settings.experiment_name, what, f"sparsity {settings.sparsity:g}"),
        config={"run_id": job.run_id, **config},
        run_dir=job.run_dir,
        is_sweep_point=is_sweep_point,
    )
    return _tracker(settings, run)


def tracker_over_seeds(settings: Composed, jobs: Sequence[Job], ids: str) -> AbstractTracker:
    """Build the tracker of a point that is several runs; inside a sweep, it is the agent's run.

    Args:
        settings: Of the point; ``logger`` chooses.
        jobs: Its runs.
        ids: Tells it from points with other runs.
    """
    group = group_of(jobs[0].run_id)
    seeds = settings.sweep.seeds
    run = TrackedRun(
        run_id=f"{group}-seeds{'_'.join(map(str, seeds))}-{ids}",
        kind=jobs[0].kind,
        group=group,
        tags=(settings.experiment_name, f"{len(jobs)} seeds"),
        config={"seeds": seeds, "runs": [job.run_id for job in jobs]},
        run_dir=Path(settings.runs_dir) / "sweep_points" / f"{group}-{ids}",
        is_sweep_point=True,
    )
    return _tracker(settings, run)


def track_report(settings: Composed, page: Path) -> None:
    """Attach the report on an experiment to the tracker's project."""
    name = settings.experiment_name
    run = TrackedRun(
        run_id=f"report-{settings.reproduce.dir}",
        kind="report",
        group=name,
        tags=(name, "report"),
        config={},
        run_dir=page.parent,
    )
    if settings.logger.name == "wandb":
        with _tracker(settings, run) as tracker:
            tracker.log_page(page)


def group_of(run_id: str) -> str:
    """Return what runs share that differ in their seed, or in a setting that has no place in names.

    Example:
        >>> group_of("digits-prune-s0.98-seed11-1f0a93bd")
        'digits-prune-s0.98'
    """
    return re.sub(r"-seed\d+-[0-9a-f]{8}$", "", run_id)


def _tracker(settings: Composed, run: TrackedRun) -> AbstractTracker:
    logger = settings.logger
    if logger.name != "wandb":
        return NoTracker()
    from lightning_sparse.tracking.wandb_tracker import WandbSettings, WandbTracker

    where = {name: value for name, value in plain(logger).items() if name != "name"}
    return WandbTracker(run, WandbSettings(**where), _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
