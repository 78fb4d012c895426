"""From jobs to run folders: builds what a job's settings name and calls training or paths."""

import contextlib
import functools
import json
import random
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_only

from lightning_sparse.arms import arm_of
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.loader import FixedBatches, loader_deaths_said
from lightning_sparse.errors import UserError, is_out_of_memory
from lightning_sparse.execution.build import (
    build_data,
    build_method,
    build_network,
    build_training,
    change_start_,
    start_from_,
)
from lightning_sparse.execution.launch import is_first_of_run
from lightning_sparse.execution.tracker_choice import tracker_for
from lightning_sparse.models.starts import check_starts
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.paths.freed import Freed
from lightning_sparse.paths.rays import Ray
from lightning_sparse.paths.run import PathIdentity, PathRun
from lightning_sparse.paths.spectra import CurveSpectra
from lightning_sparse.process.heap import keep_freed_memory
from lightning_sparse.process.locks import held
from lightning_sparse.records import Record
from lightning_sparse.settings.checks import check_precision
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.identity import nominal_sparsity
from lightning_sparse.settings.jobs import Job, PlannedPoint
from lightning_sparse.settings.objects import build_curve
from lightning_sparse.settings.tree import recorded
from lightning_sparse.streams import StartStream, stream_seed
from lightning_sparse.training.checkpoints import CHECKPOINTS_DIR
from lightning_sparse.training.numerics import (
    accelerator_of,
    is_deterministic,
    set_deterministic,
)
from lightning_sparse.training.progress import History, Progress
from lightning_sparse.training.provenance import provenance
from lightning_sparse.training.run import HISTORY_FILE, EndPointRun, RunIdentity
from lightning_sparse.training.trainer import check_trainer


def execute(
    job: Job,
    report: Progress | None = None,
    *,
    waits: bool = True,
    is_sweep_point: bool = False,
) -> Record:
    """Run one job in this process; what it needs must be finished.

    Args:
        job: What to make; a run that was killed goes on from its newest checkpoint.
        report: Called now and then with steps done and steps in all.
        waits: Whether to wait while another process makes the same run.
        is_sweep_point: Whether the agent of a sweep asked for it.

    Returns:
        Its record, read from the folder if the job was finished already.

    Raises:
        UserError: If another process makes the same run, unless this one ``waits``.
    """
    when_busy = functools.partial(_say_who if waits else _refuse, job)
    # Other ranks of the same run come here too, and the first one holds the lock.
    with held(lock_file(job), when_busy) if is_first_of_run() else contextlib.nullcontext():
        if not job.is_finished:
            return _make(job, report, is_sweep_point=is_sweep_point)
        if is_sweep_point:
            tell_tracker_again(job)
        return job.record()


def lock_file(job: Job) -> Path:
    """Name of the file that is locked while a process makes a run: beside its folder."""
    return job.run_dir.parent / f".{job.run_id}.lock"


def _say_who(job: Job, owner: str) -> None:
    print(f"{owner} makes {job.run_dir} already: waiting for it", file=sys.stderr)


def _refuse(job: Job, owner: str) -> None:
    raise UserError(f"{owner} makes {job.run_dir} already; wait for it, or stop it")


def _make(job: Job, report: Progress | None, *, is_sweep_point: bool) -> Record:
    settings = job.settings
    trainer = settings.trainer
    accelerator = accelerator_of(trainer)
    # What is meant by auto is known only now; Lightning would take another precision.
    check_precision(trainer.get("precision"), accelerator)
    check_trainer(trainer)
    if is_first_of_run():
        remove_unfinished_files(job.run_dir)
    torch.set_num_threads(settings.num_threads)
    set_deterministic(is_deterministic(settings.deterministic, trainer))
    if accelerator == "cpu":
        keep_freed_memory()
    _seed_global_generators(settings.seed)
    make = _train if job.kind == "train" else _connect
    with (
        _says_that_memory_lacks(job),
        _says_what_is_not_deterministic(),
        loader_deaths_said(),
        tracker_for(settings, job, tracked(settings), is_sweep_point=is_sweep_point) as tracker,
    ):
        history = History(every_steps=settings.log_every_steps, send=tracker.log)
        record = make(settings, job, history, report)
        tracker.finish(record)
    return record


@contextlib.contextmanager
def _says_that_memory_lacks(job: Job) -> Iterator[None]:
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"{job.run_id}: there is not enough memory ({_first_line(error)}); "
            "free some, with a lower reproduce.num_processes or sweep.num_processes for example, "
            "and start the same command again to go on; or lower evaluation.points_at_once, "
            "evaluation.batch_size or batch_size, which makes another run"
        ) from error


@contextlib.contextmanager
def _says_what_is_not_deterministic() -> Iterator[None]:
    try:
        yield
    # The first look at a network has made a line of its own of it.
    except (RuntimeError, UserError) as error:
        if "use_deterministic_algorithms" not in str(error):
            raise
        raise UserError(
            f"{_first_sentence(str(error))}; choose another operation or library, or say "
            "deterministic=false, with which two equal runs end in different weights"
        ) from error


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].split(", but you set")[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def tell_tracker_again(job: Job) -> None:
    """Tell the agent of a sweep of a run that was finished before it asked."""
    settings = job.settings
    file = job.run_dir / HISTORY_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    with tracker_for(settings, job, tracked(settings), is_sweep_point=True) as tracker:
        for line in lines:
            tracker.log(json.loads(line))
        tracker.finish(job.record())


def tracked(settings: Composed) -> Mapping[str, object]:
    """Return what a tracker keeps of the settings.

    Under one name: the agent of a sweep has set names of its own, such as ``method``, that then
    cannot be set again.
    """
    return {"settings": recorded(settings), "commit": provenance()["commit"]}


def _seed_global_generators(seed: int) -> None:
    """Seed what networks may draw from as they train; nothing of ours does."""
    value = stream_seed(seed, "network", getattr(rank_zero_only, "rank", 0))
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002 (the generator that networks may use)
    torch.manual_seed(value)


def remove_unfinished_files(run_dir: Path) -> None:
    """Remove what a killed process was writing when it died; finished checkpoints stay."""
    for part in [*run_dir.glob(".*.part"), *run_dir.glob(f"{CHECKPOINTS_DIR}/.*.part")]:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


def _train(settings: Composed, job: Job, history: History, report: Progress | None) -> Record:
    arm = arm_of(settings.method)
    start, masks, changed_by = map(job.points.get, ("start", "masks", "start_changed_by"))
    data = build_data(settings, first_step=arm.first_step)
    network = build_network(settings, data.source)
    remarks: Sequence[str] = ()
    if start:
        start_from_(network, start)
    else:
        build = functools.partial(build_network, settings, data.source)
        remarks = check_starts(network, cast("StartStream", arm.stream), build)
    change_start_(network, job)
    return EndPointRun(
        network=network,
        method=build_method(settings, masks.run_dir if masks else None),
        data=data,
        settings=build_training(settings.training, "training"),
        identity=RunIdentity(
            run_id=job.run_id,
            experiment=settings.experiment_name,
            method=arm.recorded_as,
            start=settings.method.start,
            seed=settings.seed,
            target_sparsity=nominal_sparsity(settings),
            mask_source=masks.run_id if masks else None,
            start_source=start.run_id if start else None,
            change_source=changed_by.run_id if changed_by else None,
            rewind_step=arm.first_step,
            config=recorded(settings),
        ),
        run_dir=job.run_dir,
        capture_steps=settings.capture_steps,
        remarks=remarks,
        recalibration=recalibration_of(settings, data),
        allow_tf32=settings.evaluation.allow_tf32,
        trainer_options=_trainer_options(settings),
        checkpointing=settings.checkpoint,
        history=history,
        report=report,
    ).train()


def _trainer_options(settings: Composed) -> Mapping[str, Any]:
    """Return the Trainer's arguments; it would turn off what it is not told to leave on."""
    trainer = settings.trainer
    value = is_deterministic(settings.deterministic, trainer)
    return {**trainer, "deterministic": value} if value else trainer


def recalibration_of(settings: Composed, data: ImageDataModule) -> FixedBatches | None:
    """Return the batches over which a trained network's statistics are computed anew, if any."""
    if settings.recalibrate_batch_norm is None:
        return None
    evaluation = settings.evaluation
    return data.recalibration_batches(
        evaluation.num_recalibration_images,
        evaluation.recalibration_batch_size,
        augmented=settings.recalibrate_batch_norm == "augmented",
    )


def _connect(settings: Composed, job: Job, history: History, report: Progress | None) -> Record:
    path = settings.path
    (start, end), freed_by = job.ends, job.points.get("freed_by")
    curve = build_curve(settings.curve)
    data = build_data(settings)
    return PathRun(
        network=build_network(settings, data.source),
        data=data,
        start=load_end_point(start.run_dir, start.moment, name=start.name),
        end=load_end_point(end.run_dir, end.moment, name=end.name),
        curve=curve,
        space=path.space,
        freed=_freed(settings, freed_by) if curve.is_fitted else None,
        ray=Ray(coordinates=path.ray) if path.ray else None,
        spectra=_spectra(settings, job),
        settings=build_training(path.training, "path.training"),
        evaluation=settings.evaluation,
        identity=PathIdentity(
            run_id=job.run_id,
            experiment=settings.experiment_name,
            seed=settings.seed,
            target_sparsity=max(start.sparsity, end.sparsity),
            **(_of_fit(settings, freed_by) if curve.is_fitted else {}),
            config=recorded(settings),
        ),
        run_dir=job.run_dir,
        trainer_options=_trainer_options(settings),
        checkpointing=settings.checkpoint,
        compiled=bool(settings.compile),
        history=history,
        report=report,
    ).make()


def _spectra(settings: Composed, job: Job) -> CurveSpectra | None:
    path = settings.path
    if path.spectrum is None:
        return None
    (curve,) = (needed for needed in job.needs if needed.kind == "path")
    return CurveSpectra(
        kind=path.spectrum,
        num_probes=path.num_probes,
        num_steps=path.num_lanczos_steps,
        curve_dir=curve.run_dir,
    )


def _freed(settings: Composed, by: PlannedPoint | None) -> Freed | None:
    path = settings.path
    if path.freed_share is None:
        return None
    other = load_end_point(by.run_dir, by.moment, name=by.name).state if by else None
    return Freed(share=path.freed_share, order=path.freed_order, other=other)


def _of_fit(settings: Composed, freed_by: PlannedPoint | None) -> dict[str, Any]:
    """Return what identifies a fit beside the recipe of its experiment."""
    path = settings.path
    is_free = path.freed_share is not None
    return {
        "steps_multiplier": path.steps_multiplier,
        "freed_share": path.freed_share,
        "freed_order": path.freed_order if is_free else None,
        "freed_by": freed_by.identity if freed_by else None,
        "search_seed": path.search_seed,
    }
