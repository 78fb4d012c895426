"""A network that was trained elsewhere, measured and left in a folder as a run leaves itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.files.manifests import write_record
from lightning_sparse.files.tensor_files import save_tensors
from lightning_sparse.models.flops import forward_flops
from lightning_sparse.records import RunRecord
from lightning_sparse.sparsity.mask_files import save_masks
from lightning_sparse.sparsity.masks import Masks, kept_and_prunable, layer_counts
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.provenance import provenance
from lightning_sparse.training.run import (
    MASKS_FILE,
    START_FILE,
    WEIGHTS_FILE,
    RunIdentity,
    distance,
    measure_both,
)
from lightning_sparse.training.trainer import quiet_trainer


def keep_imported(  # noqa: PLR0913 (keyword-only: everything that such a run is made of)
    *,
    network: nn.Module,
    masks: Masks,
    start: Mapping[str, Tensor] | None,
    data: ImageDataModule,
    settings: TrainingSettings,
    identity: RunIdentity,
    run_dir: Path,
    trainer_options: Mapping[str, Any],
) -> RunRecord:
    """Measure the network on both sets and write weights, masks and, last, the record.

    Args:
        network: With the weights that were trained.
        masks: Which of them were kept.
        start: The weights that training began with, if they are known.
        data: What it is measured on.
        settings: How it was trained, as far as the record says so.
        identity: What the record says of it.
        run_dir: Where it is kept.
        trainer_options: Of `pytorch_lightning.Trainer`: where and how it is measured.

    Returns:
        The record; the time that training took is not known and 0 in it.
    """
    forward_flops(network, data.source.image_shape)  # that it runs on such images
    trainer = quiet_trainer(1, [], trainer_options)
    train, test = measure_both(network.to(trainer.strategy.root_device), data, settings, trainer)
    kept, prunable = kept_and_prunable(masks)
    parameters = dict(network.named_parameters())
    record = RunRecord(
        **vars(identity),
        kept=kept,
        prunable=prunable,
        layers=layer_counts(masks),
        num_steps=settings.num_steps,
        train=train,
        test=test,
        distance_from_start=None if start is None else distance(parameters, start),
        wall_seconds=0.0,
        provenance=provenance(),
    )
    save_tensors(network.state_dict(), run_dir / WEIGHTS_FILE)
    save_masks(masks, run_dir / MASKS_FILE)
    if start is not None:
        save_tensors(start, run_dir / START_FILE)
    write_record(record, run_dir)
    return record
