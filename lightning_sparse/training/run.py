"""Train one end point: fit, measure, and leave weights, masks and a record in its folder."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.loader import FixedBatches
from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.files.manifests import write_record
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.files.tensor_files import load_tensors, save_tensors
from lightning_sparse.models.batch_norm import recalibrate_
from lightning_sparse.models.flops import ForwardFlops, flops_of_run, forward_flops
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.points import Moment
from lightning_sparse.records import Evaluation, RunRecord
from lightning_sparse.sparsity.mask_files import save_masks
from lightning_sparse.sparsity.masks import kept_and_prunable, layer_counts
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.training.after_step import AfterStepCallback
from lightning_sparse.training.checkpoints import (
    CheckpointCallback,
    RunCheckpoints,
    describe_network,
    fit_resumably,
)
from lightning_sparse.training.classifier_module import ClassifierModule, TrainingSettings
from lightning_sparse.training.measurement import (
    Batch,
    decayed_half_squared_norm,
    measure,
    on_device,
)
from lightning_sparse.training.numerics import (
    as_measured_,
    at_least_single,
    measured_dtype,
    true_single_precision,
)
from lightning_sparse.training.observations import EndPointObserver
from lightning_sparse.training.progress import History, Progress, ProgressCallback
from lightning_sparse.training.provenance import provenance
from lightning_sparse.training.ranks import share_buffers_, wait_for_all
from lightning_sparse.training.settings import CheckpointSettings
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.validation import (
    check_batches_of_one,
    check_ranks_can_wait,
    said_of_growth,
    say,
    validate,
)

WEIGHTS_FILE = "weights.safetensors"
START_FILE = "start.safetensors"
MASKS_FILE = "masks.safetensors"
HISTORY_FILE = "history.jsonl"


def weights_at_step_file(step: int) -> str:
    """Name of the file that holds a run's weights after ``step`` optimizer steps."""
    return f"weights_step_{step}.safetensors"


def weights_file(moment: Moment) -> str:
    """Name of the file that holds a run's weights at one moment."""
    if isinstance(moment, int):
        return weights_at_step_file(moment)
    return START_FILE if moment == "start" else WEIGHTS_FILE


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """Who a run is: everything in its record that was decided before it started.

    Attributes are those of `lightning_sparse.records.RunRecord`.
    """

    run_id: str
    experiment: str
    method: str
    start: str
    seed: int
    target_sparsity: float
    mask_source: str | None = None
    start_source: str | None = None
    change_source: str | None = None
    rewind_step: int = 0
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)


class WeightsCallback(AfterStepCallback):
    """Writes the network's state dict at the start and after chosen optimizer steps.

    Must come after `SparsityCallback`, so that what it writes is masked.

    Args:
        run_dir: Folder that the files go to.
        steps: Steps of the schedule to write besides the start.
    """

    def __init__(self, run_dir: Path, steps: Collection[int]) -> None:
        self._run_dir = run_dir
        self._steps = frozenset(steps)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the start, once: a resumed run has it already, and the step it goes on from."""
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            self._write(START_FILE, pl_module)
            self.after_step(trainer, pl_module, 0)

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Write the weights if this step was asked for."""
        step = _classifier(module).schedule_step
        if step in self._steps:
            self._write(weights_at_step_file(step), module)

    def _write(self, name: str, pl_module: pl.LightningModule) -> None:
        if pl_module.trainer.is_global_zero:
            state = _classifier(pl_module).network.state_dict()
            save_tensors(at_least_single(state), self._run_dir / name)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """A fit that has ended, and who knows what of it.

    Attributes:
        trainer: Its ranks and device.
        keeper: How long it took, over all interruptions.
        sparsity: The masks, and how many weights they kept when.
        operations: By `lightning_sparse.models.flops`.
        remarks: What was said before it.
    """

    trainer: pl.Trainer
    keeper: CheckpointCallback
    sparsity: SparsityCallback
    operations: ForwardFlops
    remarks: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class EndPointRun:
    """A run that trains one end point.

    Attributes:
        network: At its start weights; it is trained in place.
        method: Decides the masks.
        data: Training batches, the fixed training subset and the test set.
        settings: How the network is fitted.
        identity: What the record says of the run; a ``rewind_step`` of k means that the start
            weights are those of step k and that the schedule and the data go on from there.
        run_dir: The run's folder.
        capture_steps: Steps after which the weights are kept, for runs that rewind to them.
        remarks: What was said of the network before, a sentence each; for the record.
        recalibration: Equal batches over which the batch-norm statistics of the trained network are
            computed anew; None keeps the moving averages of training.
        allow_tf32: Whether the trained network is measured in TF32 where the device has it; None
            is single precision.
        trainer_options: Further `pytorch_lightning.Trainer` arguments.
        checkpointing: When checkpoints are written; None for the defaults.
        history: How often a line of history is kept, and who is told of it.
        report: Called now and then with steps done and steps in all.
    """

    network: nn.Module
    method: AbstractSparseMethod
    data: ImageDataModule
    settings: TrainingSettings
    identity: RunIdentity
    run_dir: Path
    capture_steps: Sequence[int] = ()
    remarks: Sequence[str] = ()
    recalibration: FixedBatches | None = None
    allow_tf32: bool | None = None
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    checkpointing: CheckpointSettings | None = None
    history: History = field(default_factory=History)
    report: Progress | None = None

    def train(self) -> RunRecord:
        """Fit the network and write everything that later stages need.

        A folder with checkpoints is that of a run which was killed: it goes on from the newest one.

        The folder then holds ``start.safetensors`` and ``weights.safetensors`` (the network's own
        state dict, as anyone can load it), ``masks.safetensors``, ``history.jsonl``, ``SHA256SUMS``
        and, last of all, ``record.json``: a folder without it is a run that has not finished.

        Returns:
            The record that was written.

        Raises:
            DivergedError: If the loss stops being a number.
            UserError: If a setting or a checkpoint does not fit.
            Preempted: If a signal asked for it; calling again goes on.
        """
        remarks = self._look()
        operations = forward_flops(self.network, self.data.source.image_shape)
        module = ClassifierModule(self.network, self.settings, self.identity.rewind_step)
        sparsity = self._sparsity()
        progress = _progress(module, sparsity, self.history, self.report)
        checkpoints = self._checkpoints()
        trainer, keeper = fit_resumably(
            module,
            self.data,
            self.settings.num_steps - self.identity.rewind_step,
            [sparsity, WeightsCallback(self.run_dir, self.capture_steps), progress],
            self.settings.with_clipping(self.trainer_options),
            checkpoints,
        )
        fit = _Fit(
            trainer=trainer,
            keeper=keeper,
            sparsity=sparsity,
            operations=operations,
            remarks=remarks,
        )
        with true_single_precision(unless_tf32=self.allow_tf32):
            _settle(self.network, trainer, self.recalibration)
            record = _record(module, fit, self.data, self.identity, self.run_dir)
        if trainer.is_global_zero:
            save_tensors(at_least_single(self.network.state_dict()), self.run_dir / WEIGHTS_FILE)
            save_masks(sparsity.masks, self.run_dir / MASKS_FILE)
            write_text_atomic(self.run_dir / HISTORY_FILE, progress.history_lines())
            write_record(record, self.run_dir)
            checkpoints.finish()
        wait_for_all(trainer.strategy.root_device)
        return record

    def _look(self) -> list[str]:
        """See that everything fits together; return and print what is to be said of it."""
        num_steps, recalibration = self.settings.num_steps, self.recalibration
        check_steps(self.capture_steps, self.identity.rewind_step, num_steps)
        self.method.check_length(num_steps)
        findings = validate(
            self.network,
            self.data,
            is_masked=self.method.is_sparse,
            recalibrates=recalibration is not None,
        )
        check_batches_of_one(self.network, self.data, [recalibration] if recalibration else [])
        check_ranks_can_wait(findings, self.trainer_options)
        remarks = [*self.remarks, *findings.remarks()]
        say(remarks)
        return remarks

    def _sparsity(self) -> SparsityCallback:
        return SparsityCallback(
            self.method,
            network="network",
            seed=self.identity.seed,
            first_step=self.identity.rewind_step,
            announces=False,  # the remarks have
            probe_batches=self.data.probe_batches,
        )

    def _checkpoints(self) -> RunCheckpoints:
        return RunCheckpoints(
            self.run_dir,
            self.checkpointing,
            {
                "run_id": self.identity.run_id,
                "method": type(self.method).__name__,
                "architecture": describe_network(self.network),
            },
        )


def _progress(
    module: ClassifierModule, sparsity: SparsityCallback, history: History, report: Progress | None
) -> ProgressCallback:
    return ProgressCallback(
        every_steps=history.period(module.settings.num_steps),
        report=report,
        advice=f"lower training.learning_rate={module.settings.learning_rate}",
        observe=EndPointObserver(module, sparsity),
        send=history.send,
    )


def _settle(network: nn.Module, trainer: pl.Trainer, recalibration: Iterable[Batch] | None) -> None:
    """Give the trained network the batch-norm statistics that it is measured and written with."""
    device, dtype = trainer.strategy.root_device, measured_dtype(trainer.precision)
    network.to(device)
    as_measured_(network, trainer.precision)
    share_buffers_(network)
    if recalibration is not None:
        recalibrate_(network, (images for images, _ in on_device(recalibration, device, dtype)))


def _record(
    module: ClassifierModule, fit: _Fit, data: ImageDataModule, identity: RunIdentity, run_dir: Path
) -> RunRecord:
    """Measure the trained network, and count what it keeps and costs."""
    trainer, settings, first_step = fit.trainer, module.settings, identity.rewind_step
    kept, prunable = kept_and_prunable(fit.sparsity.masks)
    layers = layer_counts(fit.sparsity.masks)
    train, test = measure_both(module.network, data, settings, trainer)
    start = load_tensors(run_dir / START_FILE)
    grown = said_of_growth(prunable_weights(module.network), start)
    say(grown)
    return RunRecord(
        **vars(identity),
        kept=kept,
        prunable=prunable,
        layers=layers,
        num_steps=settings.num_steps,
        train=train,
        test=test,
        distance_from_start=distance(dict(module.network.named_parameters()), start),
        wall_seconds=fit.keeper.wall_seconds,
        provenance={**provenance(), **data.provenance, **fit.keeper.provenance()},
        global_batch_size=data.batch_size * trainer.world_size * trainer.accumulate_grad_batches,
        flops=flops_of_run(
            fit.operations,
            {name: layer.prunable for name, layer in layers.items()},
            {step - first_step: counts for step, counts in fit.sparsity.kept_by_step.items()},
            settings.num_steps - first_step,
            lambda step, dense, sparse: fit.sparsity.method.step_flops(
                first_step + step, dense=dense, sparse=sparse
            ),
        ),
        num_parameters=sum(parameter.numel() for parameter in module.network.parameters()),
        observations=dict(fit.sparsity.observations()) or None,
        remarks=[*fit.remarks, *grown] or None,
    )


def measure_both(
    network: nn.Module, data: ImageDataModule, settings: TrainingSettings, trainer: pl.Trainer
) -> tuple[Evaluation, Evaluation]:
    """Measure the trained network on both sets; a loss that is no number is not recorded."""
    network.eval()
    penalty = settings.weight_decay * decayed_half_squared_norm(
        network, dict(network.named_parameters())
    )
    train, test = (
        measure(
            network,
            batches,
            penalty=penalty,
            device=trainer.strategy.root_device,
            dtype=measured_dtype(trainer.precision),
        )
        for batches in (data.train_subset_batches(), data.test_batches())
    )
    for loss in (train.objective, test.loss):
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss at the end is {loss}; lower "
                f"training.learning_rate={settings.learning_rate}"
            )
    return train, test


def check_steps(capture_steps: Sequence[int], first_step: int, num_steps: int) -> None:
    """Refuse steps that a run does not take.

    Raises:
        UserError: Naming them.
    """
    if not 0 <= first_step < num_steps:
        raise UserError(f"rewind_step={first_step}: must lie in [0, num_steps={num_steps})")
    for step in capture_steps:
        if not first_step <= step <= num_steps:
            raise UserError(
                f"capture_steps={step}: must lie in [{first_step}, num_steps={num_steps}], the "
                "steps that the run takes"
            )


def distance(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """Euclidean distance over the entries of ``weights``, accumulated in double precision."""
    return math.sqrt(
        math.fsum(
            float((weight.detach().double().cpu() - others[name].double()).square().sum())
            for name, weight in weights.items()
        )
    )


def _classifier(pl_module: pl.LightningModule) -> ClassifierModule:
    if not isinstance(pl_module, ClassifierModule):
        raise TypeError(f"WeightsCallback needs a ClassifierModule, not {type(pl_module).__name__}")
    return pl_module
