"""``lightning-sparse import-published``: a published sparse network as a pruned run."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from lightning_sparse.errors import UserError
from lightning_sparse.exchange.published import Published, read_published
from lightning_sparse.execution.build import build_data, build_network, build_training, load_state_
from lightning_sparse.execution.summaries import describe_run
from lightning_sparse.execution.worker import silence_lightning
from lightning_sparse.records import RECORD_FILE
from lightning_sparse.settings.compose import Composed, with_values
from lightning_sparse.settings.identity import run_dir, training_id
from lightning_sparse.settings.tree import recorded
from lightning_sparse.sparsity.masks import measured_sparsity
from lightning_sparse.training.imported import keep_imported
from lightning_sparse.training.run import RunIdentity

_TOLERANCE = 0.02  # between what a sparsity is called and what masks come to


def run(settings: Composed) -> None:
    """Read the file, measure the network on this data set, and keep it as a run of method=prune.

    Scratch and lottery runs take it by ``mask_source=FOLDER``, paths by ``FOLDER:end``; a lottery
    run needs ``published.start`` besides, and so does ``FOLDER:start``.

    Raises:
        UserError: If the file does not hold such a network, or one of another sparsity.
    """
    wanted = settings.published
    if wanted.file is None or wanted.layout is None:
        raise UserError(
            "published.file and published.layout are not both given; for example "
            "published.file=rigl.npz published.layout=rigl"
        )
    silence_lightning()
    settings = with_values(
        settings,
        ["method=prune", "mask_source=null", "capture_steps=[]", "recalibrate_batch_norm=null"],
    )
    torch.set_num_threads(settings.num_threads)
    data = build_data(settings)
    network = build_network(replace(settings, compile=None), data.source)
    file = Path(wanted.file)
    published = read_published(file, wanted.layout, network)
    _require_sparsity(published, settings.sparsity, file)
    start = None
    if wanted.start is not None:
        start = read_published(Path(wanted.start), wanted.layout, network, masked=False).state
    load_state_(network, published.state, file)
    origin = {"layout": wanted.layout, "sha256": _sha256(file)}
    run_id = training_id(settings, published=origin["sha256"])
    folder = run_dir(settings, run_id)
    if (folder / RECORD_FILE).is_file():
        print(f"{folder} is there already; remove it to import the file again")
        return
    record = keep_imported(
        network=network,
        masks=published.masks,
        start=start,
        data=data,
        settings=build_training(settings.training, "training"),
        identity=RunIdentity(
            run_id=run_id,
            experiment=settings.experiment_name,
            method="prune",
            start=settings.method.start,
            seed=settings.seed,
            target_sparsity=settings.sparsity,
            config={**recorded(settings), "published": origin},
        ),
        run_dir=folder,
        trainer_options=settings.trainer,
    )
    print(f"{describe_run(record)}\n{folder}")


def _require_sparsity(published: Published, nominal: float, file: Path) -> None:
    measured = measured_sparsity(published.masks)
    if abs(measured - nominal) > _TOLERANCE:
        raise UserError(
            f"sparsity={nominal:g}: the masks of {file} come to {measured:.4f}; say what the "
            f"network is called by, for example sparsity={measured:.3f}"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
