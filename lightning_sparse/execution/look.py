"""What would jobs be refused for? Asked of all of them before the first one begins."""

import copy
import functools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, final

from torch import nn

from lightning_sparse.arms import arm_of
from lightning_sparse.errors import UserError, is_not_here
from lightning_sparse.execution.build import (
    build_data,
    build_method,
    build_network,
    build_training,
    start_from_,
)
from lightning_sparse.execution.execute import recalibration_of
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.models.starts import check_starts
from lightning_sparse.paths.end_points import EndPoint, load_end_point
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.paths.run import batches_of_statistics, recalibrates
from lightning_sparse.paths.subspace import subspace_masks
from lightning_sparse.records import RECORD_FILE
from lightning_sparse.settings.checks import check_precision
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job, PlannedPoint
from lightning_sparse.settings.objects import build_curve, build_object
from lightning_sparse.settings.tree import as_plain
from lightning_sparse.sparsity.masks import Masks, full_masks
from lightning_sparse.sparsity.view import AbstractNetworkProbe, SparseView
from lightning_sparse.streams import StartStream
from lightning_sparse.training.numerics import accelerator_of, is_deterministic
from lightning_sparse.training.run import check_steps
from lightning_sparse.training.trainer import check_trainer
from lightning_sparse.training.validation import (
    Findings,
    check_batches_of_one,
    check_ranks_can_wait,
    validate,
)

_SHARED = (
    "data", "model", "batch_size", "evaluation", "num_workers", "channels_last", "compile",
    "trainer",
)  # fmt: skip


def look_before(jobs: Sequence[Job], *, is_here: bool = True) -> None:
    """Look at settings, data and networks of jobs; jobs that differ in their seed alone are one.

    Each job looks again when its turn comes; but what a scratch run or a path would be refused for
    should not show after its pruned run was trained.

    Args:
        jobs: In the order in which they are made.
        is_here: Whether they run on this machine. If not, what only a machine with their devices
            can tell is left to it, and if their data are not here, so are the networks.

    Raises:
        UserError: Naming what is wrong.
    """
    planned = _distinct(jobs)
    for job, settings in planned:
        _check_settings(job, settings, is_here=is_here)
    groups: dict[str, list[tuple[Job, Composed]]] = {}
    for job, settings in planned:
        plain = as_plain(settings)
        shared = _text({name: plain[name] for name in _SHARED})
        groups.setdefault(shared, []).append((job, settings))
    for group in groups.values():
        try:
            _check_networks(group, is_here=is_here)
        except UserError as error:
            if is_here or not is_not_here(error):
                raise
            print(f"note: left to the machine that runs it: {error}", file=sys.stderr)


def _distinct(jobs: Iterable[Job]) -> list[tuple[Job, Composed]]:
    found: dict[object, Job] = {}
    for job in jobs:
        others = _text({**as_plain(job.settings), "seed": None})
        found.setdefault((job.kind, others), job)
    return [(job, job.settings) for job in found.values()]


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _check_settings(job: Job, settings: Composed, *, is_here: bool) -> None:
    """Build what needs neither data nor network."""
    trainer = settings.trainer
    if is_here:
        check_precision(trainer.get("precision"), accelerator_of(trainer))
        check_trainer(trainer)
    else:
        check_trainer(_without_devices(trainer))
    is_deterministic(settings.deterministic, trainer)
    if job.kind == "path":
        build_training(settings.path.training, "path.training")
        _check_space(job)
        return
    is_given = arm_of(settings.method).masks is not None
    said = settings.method.sparse_method
    build_object({**said, "_partial_": True} if is_given else said, "method")
    num_steps = build_training(settings.training, "training").num_steps
    check_steps(settings.capture_steps, arm_of(settings.method).first_step, num_steps)


def _without_devices(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what can be told where the devices are."""
    elsewhere = {"accelerator", "devices", "num_nodes", "strategy", "precision", "plugins"}
    kept = {name: value for name, value in trainer.items() if name not in elsewhere}
    return {**kept, "accelerator": "cpu", "devices": 1}


def _check_space(job: Job) -> None:
    settings = job.settings
    if build_curve(settings.curve).is_fitted:
        ends = [_masks_of(end) for end in job.ends]
        subspace_masks(settings.path.space, *ends)


def _masks_of(end: PlannedPoint) -> Masks | None:
    """Say whether there are masks, by any at all: which they are, is seen when they are there."""
    if end.job is None:
        return None if _loaded(end).masks is None else {}
    return {} if end.sparsity > 0 else None


def _loaded(end: PlannedPoint) -> EndPoint:
    return load_end_point(end.run_dir, end.moment, name=end.name)


def _check_networks(group: Sequence[tuple[Job, Composed]], *, is_here: bool) -> None:
    shared = _Shared(group[0][1])
    for job, settings in group:
        if job.kind == "path":
            _check_path(job, settings, shared)
        else:
            _check_run(job, settings, shared, is_here=is_here)


@final
class _Shared:
    """Data and networks of several jobs, each looked at once for all of them."""

    def __init__(self, settings: Composed) -> None:
        self.data = build_data(settings)
        self._networks: dict[tuple[int, str], nn.Module] = {}
        self._starts: set[str] = set()
        self._findings: dict[tuple[bool, bool], Findings] = {}

    def network(self, settings: Composed) -> nn.Module:
        """Return the network at its start weights, which are those of its seed and stream."""
        place = (settings.seed, arm_of(settings.method).stream)
        if place not in self._networks:
            self._networks[place] = build_network(settings, self.data.source)
        return self._networks[place]

    def check_starts(self, settings: Composed) -> None:
        """See that start weights are those of their stream, and of no other."""
        stream = cast("StartStream", settings.method.start)
        if stream not in self._starts:
            build = functools.partial(build_network, settings, self.data.source)
            check_starts(self.network(settings), stream, build)
            self._starts.add(stream)

    def findings(self, network: nn.Module, *, is_masked: bool, recalibrates: bool) -> Findings:
        """Return what `validate` finds."""
        key = (is_masked, recalibrates)
        if key not in self._findings:
            self._findings[key] = validate(
                network, self.data, is_masked=is_masked, recalibrates=recalibrates
            )
        return self._findings[key]


def _check_run(job: Job, settings: Composed, shared: _Shared, *, is_here: bool) -> None:
    network, arm = shared.network(settings), arm_of(settings.method)
    recalibration = recalibration_of(settings, shared.data)
    findings = shared.findings(
        network, is_masked=arm.is_masked, recalibrates=recalibration is not None
    )
    check_batches_of_one(network, shared.data, [recalibration] if recalibration else [])
    if is_here:
        check_ranks_can_wait(findings, settings.trainer)
    if not arm.start:
        shared.check_starts(settings)
    start, masks = job.points.get("start"), job.points.get("masks")
    if start and _is_there(start):
        start_from_(copy.deepcopy(network), start)
    if masks is None or _is_there(masks):
        _check_method(settings, network, masks.run_dir if masks else None)


def _is_there(point: PlannedPoint) -> bool:
    return (point.run_dir / RECORD_FILE).is_file()


def _check_method(settings: Composed, network: nn.Module, mask_dir: Path | None) -> None:
    """Ask a method for its first masks; those of a run that is still to be made are left out."""
    method, weights = build_method(settings, mask_dir), prunable_weights(network)
    method.check_length(settings.training.num_steps)
    view = SparseView(
        step=0,
        weights=weights,
        masks=full_masks(weights),
        state={},
        seed=settings.seed,
        probe=_left_for_the_run,
    )
    try:
        method.initial_masks(view)
    except _NetworkAskedError:
        return


class _NetworkAskedError(Exception):
    """A method that looks at gradients for its first masks has found its layers right."""


def _left_for_the_run() -> AbstractNetworkProbe:
    raise _NetworkAskedError


def _check_path(job: Job, settings: Composed, shared: _Shared) -> None:
    ends, evaluation = job.ends, settings.evaluation
    network = shared.network(settings)
    WeightLayout(network)
    for end in ends:
        if end.job is None:
            _loaded(end).check_fits(network)
    shared.findings(
        network,
        is_masked=any(_masks_of(end) is not None for end in ends),
        recalibrates=recalibrates(evaluation),
    )
    check_batches_of_one(network, shared.data, batches_of_statistics(shared.data, evaluation))
