"""What ``verify --build`` adds: a run's network is built, which runs the code that it names."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from lightning_sparse.errors import UserError, theirs
from lightning_sparse.execution.build import build_data, build_network, load_state_
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.records import RunRecord
from lightning_sparse.settings.recorded import recorded_settings
from lightning_sparse.training.measurement import measure
from lightning_sparse.training.run import WEIGHTS_FILE
from lightning_sparse.training.validation import masks_without_effect

_ROUNDING = 1e-3
"""Relative; another machine, precision or size of batch adds up in another order."""


def problems_of_network(record: RunRecord, run_dir: Path) -> Iterator[str]:
    """Yield one line if masks do not act in the network of a run, or it measures otherwise.

    Statistics that are not those with which the record was made show in the loss on the test set.
    """
    file = run_dir / WEIGHTS_FILE
    try:
        with theirs("record.json: config"):
            settings = recorded_settings({**record.config, "compile": None})
            data = build_data(settings)
            network = build_network(settings, data.source)
        load_state_(network, load_tensors(file), file)
    except UserError as error:
        yield f"its network cannot be built: {error}"
        return
    image = torch.zeros(1, *data.source.image_shape)
    if record.kept < record.prunable and (names := masks_without_effect(network, image)):
        yield (
            "its masks have no effect: masked weights are not zero in what the network computes "
            f"with: {', '.join(names)}"
        )
    with theirs(f"model {type(network).__name__}"):
        found = measure(
            network.eval(),
            data.test_batches(),
            penalty=0.0,
        )
    if not math.isclose(found.loss, record.test.loss, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
        yield (
            f"record.json: the loss on the test set is {record.test.loss:.6g} nats, with "
            f"{WEIGHTS_FILE} it is {found.loss:.6g}: other weights, statistics, data or code"
        )
