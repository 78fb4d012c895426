"""Make one path: fit the curve if it is one, measure it, and leave a record in its folder."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.loader import FixedBatches
from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.files.manifests import write_record
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.models.flops import flops_of_run, forward_flops
from lightning_sparse.paths.control_points import load_control_points, save_control_points
from lightning_sparse.paths.curves import AbstractCurve
from lightning_sparse.paths.end_points import EndPoint
from lightning_sparse.paths.evaluation import (
    PathEvaluator,
    evaluate_path,
    judged_pairs,
)
from lightning_sparse.paths.freed import Freed
from lightning_sparse.paths.geometry import curve_length, point_on_curve
from lightning_sparse.paths.layout import WeightLayout, both_ends
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.paths.rays import Ray, evaluate_ray, measured_gradient
from lightning_sparse.paths.settings import EvaluationSettings, Space
from lightning_sparse.paths.spectra import CurveSpectra, check_statistics, points_of_spectra
from lightning_sparse.paths.subspace import subspace_masks
from lightning_sparse.records import NEWEST_RULES, PathPoint, PathRecord, Spectrum
from lightning_sparse.rises import margin
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.streams import stream_seed
from lightning_sparse.training.checkpoints import (
    RunCheckpoints,
    describe_network,
    fit_resumably,
)
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.numerics import (
    measured_dtype,
    true_single_precision,
)
from lightning_sparse.training.progress import History, Progress, ProgressCallback, TailMean
from lightning_sparse.training.provenance import provenance
from lightning_sparse.training.ranks import (
    is_first_rank,
    join_ranks,
    mean_over_ranks,
    wait_for_all,
)
from lightning_sparse.training.run import HISTORY_FILE
from lightning_sparse.training.settings import CheckpointSettings
from lightning_sparse.training.validation import check_batches_of_one, say, validate


@dataclass(frozen=True, kw_only=True)
class PathIdentity:
    """Who a path is; attributes are those of `lightning_sparse.records.PathRecord`."""

    run_id: str
    experiment: str
    seed: int
    target_sparsity: float
    steps_multiplier: int | None = None
    freed_share: float | None = None
    freed_order: str | None = None
    freed_by: str | None = None
    search_seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What a record says of how a curve was fitted."""

    objective: float | None
    earlier_seconds: float
    provenance: Mapping[str, float]


_NO_FIT = _Fit(objective=None, earlier_seconds=0.0, provenance={})


@dataclass(frozen=True, kw_only=True)
class PathRun:
    """A path: what it connects, and how it is fitted and measured.

    Attributes:
        network: The architecture of both ends; its values are not read.
        data: Training batches for a curve; evaluation sets for both.
        start: End at t = 0.
        end: End at t = 1.
        curve: The shape of the path; a line needs no fit.
        space: Where control points may move; a line has none, and is the same in every space.
        settings: How a curve is fitted; its weight decay is also the objective's.
        evaluation: Grid, batch-norm policy and refinement.
        identity: What the record says of the path.
        run_dir: The path's folder.
        freed: What control points may use besides; None for nothing.
        ray: Where a line goes down from its start instead of to its end; None for a path.
        spectra: What is asked of a curve that was fitted before, instead of a fit; None for a path.
        trainer_options: Further `pytorch_lightning.Trainer` arguments.
        checkpointing: When checkpoints of a fit are written; None for the defaults.
        history: How often the fit of a curve keeps a line of history, and who is told of it.
        compiled: Whether the network of a fit is compiled.
        report: Called now and then with steps done and steps in all.
    """

    network: nn.Module
    data: ImageDataModule
    start: EndPoint
    end: EndPoint
    curve: AbstractCurve
    space: Space
    settings: TrainingSettings
    evaluation: EvaluationSettings
    identity: PathIdentity
    run_dir: Path
    freed: Freed | None = None
    ray: Ray | None = None
    spectra: CurveSpectra | None = None
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    checkpointing: CheckpointSettings | None = None
    history: History = field(default_factory=History)
    compiled: bool = False
    report: Progress | None = None

    def make(self) -> PathRecord:
        """Connect the end points and measure the connection.

        A fit that was killed goes on from its newest checkpoint; what follows it is done again.

        Returns:
            The record that was written, last of all, to ``record.json``.

        Raises:
            UserError: If the ends and the network do not fit together, a checkpoint does not fit,
                or a loss is no number.
            Preempted: If a signal asked for it; calling again goes on.
        """
        started = time.perf_counter()
        remarks = self._look()
        checkpoints = self._checkpoints()
        if self.spectra:
            control_points, fitted = self._fitted(self.spectra)
        elif self.curve.is_fitted:
            control_points, fitted = self._fit(checkpoints)
        else:
            layout = WeightLayout(self.network)
            control_points, fitted = both_ends(layout, self.start.state, self._last()), _NO_FIT
        evaluator = self._evaluator()
        record = PathRecord(
            **vars(self.identity),
            **self._shape(),
            fit_objective=fitted.objective,
            train_subset_hash=self.data.train_subset_hash,
            rules=NEWEST_RULES,
            num_classes=self.data.source.num_classes,
            **self._measured(evaluator, control_points),
            **_counted(self.network, self.data, self.curve, control_points),
            wall_seconds=fitted.earlier_seconds + time.perf_counter() - started,
            provenance={**provenance(), **self.data.provenance, **fitted.provenance},
            remarks=remarks or None,
        )
        if is_first_rank():
            write_record(record, self.run_dir)
            checkpoints.finish()
        wait_for_all(evaluator.device)
        return record

    def _look(self) -> list[str]:
        """See that everything fits together; return and print what is to be said of it."""
        self.start.check_fits(self.network)
        self.end.check_fits(self.network)
        findings = validate(
            self.network,
            self.data,
            is_masked=self.start.masks is not None or self.end.masks is not None,
            recalibrates=recalibrates(self.evaluation),
        )
        batches = batches_of_statistics(self.data, self.evaluation)
        check_batches_of_one(self.network, self.data, batches)
        remarks = findings.remarks()
        say(remarks)
        return remarks

    def _checkpoints(self) -> RunCheckpoints:
        return RunCheckpoints(
            self.run_dir,
            self.checkpointing,
            {
                "run_id": self.identity.run_id,
                "method": f"{self.curve.name}, {self.space}",
                "architecture": describe_network(self.network),
            },
        )

    def _subspace(self) -> Masks | None:
        """Return where the control points of a curve may move; None for anywhere."""
        subspace = subspace_masks(self.space, self.start.masks, self.end.masks)
        if self.freed is None:
            return subspace
        return self.freed.masks(
            subspace or {},
            network=self.network,
            state=self.start.state,
            data=self.data,
            seed=self.identity.seed,
        )

    def _last(self) -> Mapping[str, Tensor]:
        """Return the state at the end of a line: of a ray, where the gradient leads."""
        if self.ray is None:
            return self.end.state
        if self.start.masks is None:
            raise UserError(
                f"path.ray={self.ray.coordinates}: {self.start.name} has no masks to go down "
                "inside or outside of; name the end of a sparse arm"
            )
        gradient = measured_gradient(
            self.network,
            self.start.state,
            self.data,
            self.evaluation,
            join_ranks(self.trainer_options),
        )
        chosen = self.ray.masks(self.start.masks, self.identity.seed)
        return self.ray.end(self.start.state, gradient, chosen)

    def _fit(self, checkpoints: RunCheckpoints) -> tuple[Tensor, _Fit]:
        """Train the control points; return all points of the curve, and what is recorded of it."""
        module = PathModule(
            network=self.network,
            start=self.start.state,
            end=self.end.state,
            curve=self.curve,
            subspace=self._subspace(),
            settings=self.settings,
            seed=search_seed(self.identity),
            compiled=self.compiled,
            probe_batches=self.data.probe_batches,
        )
        num_steps = self.settings.num_steps
        advice = f"lower path.training.learning_rate={self.settings.learning_rate}"
        progress = ProgressCallback(
            every_steps=self.history.period(num_steps),
            report=self.report,
            advice=advice,
            observe=module.observe,
            send=self.history.send,
        )
        tail = TailMean(first_step=num_steps - max(1, num_steps // 10))
        trainer, keeper = fit_resumably(
            module,
            self.data,
            num_steps,
            [progress, tail],
            self.settings.with_clipping(self.trainer_options),
            checkpoints,
        )
        all_points = module.all_points.detach()
        if not (all_points.isfinite().all() and math.isfinite(tail.mean)):
            raise DivergedError(f"the fitted curve is not made of numbers; {advice}")
        if is_first_rank():
            save_control_points(all_points, module.layout, self.run_dir)
            write_text_atomic(self.run_dir / HISTORY_FILE, progress.history_lines())
        return all_points, _Fit(
            objective=mean_over_ranks(tail.mean, trainer.strategy.root_device),
            earlier_seconds=keeper.earlier_seconds,
            provenance=keeper.provenance(),
        )

    def _fitted(self, spectra: CurveSpectra) -> tuple[Tensor, _Fit]:
        """Read what was fitted before."""
        check_statistics(self.evaluation)
        points = load_control_points(
            WeightLayout(self.network), spectra.curve_dir, self.curve.num_points
        )
        objective = spectra.curve.fit_objective
        return points, _Fit(objective=objective, earlier_seconds=0.0, provenance={})

    def _evaluator(self) -> PathEvaluator:
        return PathEvaluator(
            network=self.network,
            data=self.data,
            settings=self.evaluation,
            weight_decay=self.settings.weight_decay,
            buffers=(self.start.buffers(self.network), self.end.buffers(self.network)),
            device=join_ranks(self.trainer_options),
            dtype=measured_dtype(self.trainer_options.get("precision")),
        )

    def _shape(self) -> dict[str, Any]:
        """Say what a record says of what is connected, and by what."""
        is_fitted = self.curve.is_fitted
        return {
            "start": self.start.name,
            "end": self.end.name,
            "curve": self.curve.name,
            "space": self.space if is_fitted else "dense",
            "num_steps": self.settings.num_steps if is_fitted else 0,
            "start_run": self.start.run.run_id,
            "end_run": self.end.run.run_id,
            "ray": self.ray.coordinates if self.ray else None,
            "spectrum": self.spectra.kind if self.spectra else None,
            "curve_run": self.spectra.curve.run_id if self.spectra else None,
        }

    def _measured(self, evaluator: PathEvaluator, control_points: Tensor) -> dict[str, Any]:
        """Measure the curve; a loss that is no number is not recorded."""
        settings, report = self.evaluation, None if self.curve.is_fitted else self.report
        weights_at = functools.partial(
            point_on_curve, self.curve, control_points.to(evaluator.device)
        )
        smallest = margin(evaluator.num_classes)
        spectra: list[Spectrum] | None = None
        with true_single_precision(unless_tf32=settings.allow_tf32):
            if self.spectra:
                curve = self.spectra.curve
                points = evaluator(points_of_spectra(curve), weights_at)
                converged = curve.refinement_converged
                spectra = self._found(self.spectra, evaluator, points, weights_at)
            elif self.ray:
                along = functools.partial(evaluator, weights_at=weights_at)
                points, converged = evaluate_ray(along, settings)
            else:
                points, converged = evaluate_path(
                    evaluator, weights_at, settings, smallest, report, self.curve.measured_at
                )
            errors = [evaluator.difference_error(pair, weights_at) for pair in judged_pairs(points)]
        for point in points:
            loss = point.train.objective + point.test.loss
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss at t = {point.t:zg} of the path is {loss}; bring "
                    "evaluation.lowest_t and highest_t nearer to 0 and 1, or lower "
                    "path.training.learning_rate"
                )
        is_recalibrated = settings.batch_norm in {"recalibrated", "recalibrated_plain"}
        return {
            "points": points,
            "refinement_converged": converged,
            "batch_norm": settings.batch_norm,
            "num_recalibration_images": settings.num_recalibration_images if is_recalibrated else 0,
            "descent_standard_error": errors[0],
            "barrier_standard_error": errors[1],
            "spectra": spectra,
        }

    def _found(
        self,
        spectra: CurveSpectra,
        evaluator: PathEvaluator,
        points: Sequence[PathPoint],
        weights_at: Callable[[float], Tensor],
    ) -> list[Spectrum]:
        """Estimate the spectrum at each point, in the state in which its loss was measured."""
        subspace = subspace_masks(self.space, self.start.masks, self.end.masks)
        masks, found = spectra.masks(subspace), list[Spectrum]()
        for place, point in enumerate(points):
            found.append(
                spectra.at(
                    point.t,
                    evaluator.network,
                    evaluator.state_at(point.t, weights_at),
                    self.data.train_subset_batches(),
                    masks,
                    self.identity.seed,
                )
            )
            if self.report:
                self.report(place + 1, len(points))
        return found


def search_seed(identity: PathIdentity) -> int:
    """Return the seed of the ``curve`` stream: the path's own, or one for a further search."""
    if identity.search_seed is None:
        return identity.seed
    return stream_seed(identity.seed, "curve", 0, 0, identity.search_seed)


def recalibrates(evaluation: EvaluationSettings) -> bool:
    """Whether statistics are those of images that go through each point of the path."""
    return evaluation.batch_norm not in {"interpolated", "stored"}


def batches_of_statistics(
    data: ImageDataModule, evaluation: EvaluationSettings
) -> list[FixedBatches]:
    """Return the batches that the network will normalise by their own statistics."""
    if evaluation.batch_norm in {"recalibrated", "recalibrated_plain"}:
        sizes = (evaluation.num_recalibration_images, evaluation.recalibration_batch_size)
        is_augmented = evaluation.batch_norm == "recalibrated"
        return [data.recalibration_batches(*sizes, augmented=is_augmented)]
    return [*data.val_dataloader()] if evaluation.batch_norm == "batch" else []


def _counted(
    network: nn.Module, data: ImageDataModule, curve: AbstractCurve, control_points: Tensor
) -> dict[str, Any]:
    """Say what a record says of the space between the ends: weights that are used, and costs."""
    layers = WeightLayout(network).prunable_counts((control_points != 0).any(dim=0))
    kept = {name: layer.kept for name, layer in layers.items()}
    prunable = {name: layer.prunable for name, layer in layers.items()}
    operations = forward_flops(network, data.source.image_shape)
    flops = flops_of_run(operations, prunable, {0: kept}, num_steps=1)
    return {
        "distance": float((control_points[-1] - control_points[0]).double().norm()),
        "length": curve_length(curve, control_points),
        "kept": sum(kept.values()),
        "prunable": sum(prunable.values()),
        # Nothing is trained on a line.
        "flops": flops if curve.is_fitted else dataclasses.replace(flops, training=0.0),
    }
