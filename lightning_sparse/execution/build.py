"""What a run is made of, built from its settings."""

import functools
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lightning_sparse.arms import arm_of
from lightning_sparse.data.checks import check_source
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.source import ImageSource
from lightning_sparse.decoding import plain
from lightning_sparse.errors import UserError, theirs
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.models.build import build_model
from lightning_sparse.models.compiling import compile_
from lightning_sparse.paths.end_points import load_run_record
from lightning_sparse.settings.jobs import Job, PlannedPoint
from lightning_sparse.settings.objects import build_object
from lightning_sparse.settings.tree import Settings
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.streams import StartStream
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.run import MASKS_FILE, weights_file
from lightning_sparse.training.settings import RecipeSettings
from lightning_sparse.training.start_changes import AbstractStartChange, change_


def build_data(settings: Settings, *, first_step: int = 0) -> ImageDataModule:
    """Build the data module of a run; ``first_step`` is where its data order goes on."""
    # The order counts batches, of which an accumulated optimizer step takes several.
    batches_per_step = settings.trainer.get("accumulate_grad_batches", 1)
    source = build_object(settings.data, "data")
    if not isinstance(source, ImageSource):
        raise UserError(
            f"data._target_={settings.data.get('_target_')}: gave a {type(source).__name__}; it "
            "must return a lightning_sparse.data.source.ImageSource"
        )
    check_source(source)
    return ImageDataModule(
        source,
        batch_size=settings.batch_size,
        seed=settings.seed,
        evaluation_batch_size=settings.evaluation.batch_size,
        train_subset_size=settings.evaluation.train_subset_size,
        num_workers=settings.num_workers,
        first_batch=first_step * batches_per_step,
        batches_per_step=batches_per_step,
    )


def build_network(
    settings: Settings, source: ImageSource, stream: StartStream | None = None
) -> nn.Module:
    """Build the network at the start weights of ``stream``; None is the arm's own stream."""
    constructor = build_object({**settings.model, "_partial_": True}, "model")
    constructor = _checked(constructor, settings.model["_target_"])
    chosen = stream or arm_of(settings.method).stream
    network = build_model(constructor, source, settings.seed, cast("StartStream", chosen))
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if settings.compile:
        compile_(network)
    return network


def _checked(constructor: "functools.partial[Any]", target: str) -> "functools.partial[nn.Module]":
    """Refuse what cannot be called with the given arguments, and whatever it makes but networks."""
    function = constructor.func
    field = f"model._target_={target}"
    try:
        inspect.signature(function).bind_partial(*constructor.args, **constructor.keywords)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{field}: {error}; give arguments that it takes, as model.NAME=..."
        ) from error

    @functools.wraps(function, updated=())
    def construct(*args: Any, **kwargs: Any) -> nn.Module:
        with theirs(field):
            network = function(*args, **kwargs)
        if not isinstance(network, nn.Module):
            raise UserError(
                f"{field}: made a {type(network).__name__}; name a torch.nn.Module or a function "
                "that returns one"
            )
        return network

    return functools.partial(construct, *constructor.args, **constructor.keywords)


def build_method(settings: Settings, mask_source: Path | None) -> AbstractSparseMethod:
    """Build the sparse method, with the masks of another run if its arm is given some.

    A class that takes ``weights`` is given those that this run ended with, too.
    """
    said, arm = settings.method.sparse_method, arm_of(settings.method)
    if arm.masks:
        assert mask_source is not None
        partial = build_object({**said, "_partial_": True}, "method")
        given: dict[str, Any] = {"masks": load_masks(mask_source / MASKS_FILE)}
        if "weights" in inspect.signature(partial.func).parameters:
            given["weights"] = load_tensors(mask_source / weights_file("end"))
        method = partial(**given)
    else:
        method = build_object(said, "method")
    if not isinstance(method, AbstractSparseMethod):
        raise UserError(f"method.sparse_method gave a {type(method).__name__}, not a sparse method")
    if method.is_sparse != arm.is_masked:
        raise UserError(
            f"method.masks={settings.method.masks}: {type(method).__name__} "
            + ("removes weights; write own" if method.is_sparse else "removes none; write none")
        )
    return method


def start_from_(network: nn.Module, source: PlannedPoint) -> None:
    """Load the weights of a finished run at one moment, batch-norm parameters and all.

    Raises:
        UserError: If the run did not keep its weights of then.
    """
    moment, run = source.moment, load_run_record(source.run_dir)
    field, file = f"method.start={source.name}", source.run_dir / weights_file(moment)
    if not file.is_file():
        remedy = f"train it with capture_steps=[{moment}]"
        if run.config.get("published"):
            remedy = "import it again with published.start=FILE, if that was published too"
        raise UserError(f"{field}: {source.run_dir} kept no weights of that step; {remedy}")
    start_step = run.config.get("pruning", {}).get("start_step")
    if run.is_masked and isinstance(moment, int) and start_step and moment > start_step:
        warnings.warn(
            f"{field} lies after the start of pruning at step {start_step}: the weights have been "
            "pruned in part already",
            stacklevel=2,
        )
    load_state_(network, load_tensors(file), file)


def change_start_(network: nn.Module, job: Job) -> None:
    """Change the weights that a run begins with, if its arm says so.

    Raises:
        UserError: If what is to change them is none, or lacks masks or weights that it is given.
    """
    settings: Settings = job.settings
    said = settings.method.start_change
    if not said:
        return
    change = build_object(said, "method.start_change")
    if not isinstance(change, AbstractStartChange):
        raise UserError(f"method.start_change gave a {type(change).__name__}, no change of a start")
    source, given = job.points.get("start_changed_by"), job.points.get("masks")
    if given is None or source is None:
        raise UserError(
            "method.start_change: changes weights inside masks that are given, by those of another "
            "point; say whose: masks: prune:end, start_changed_by: prune:end"
        )
    other = load_tensors(source.run_dir / weights_file(source.moment))
    masks = load_masks(given.run_dir / MASKS_FILE)
    change_(network, change, other, masks, seed=settings.seed)


def load_state_(network: nn.Module, state: Mapping[str, torch.Tensor], file: Path) -> None:
    """Load a state dict, or say that it belongs to another architecture."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{file} does not fit the model {type(network).__name__}: {first}"
        ) from error


def build_training(recipe: RecipeSettings, name: str) -> TrainingSettings:
    """Build training settings; ``name`` is where they stand, for messages."""
    schedule = build_object(recipe.lr_schedule, f"{name}.lr_schedule")
    return TrainingSettings(**{**plain(recipe), "lr_schedule": schedule})
