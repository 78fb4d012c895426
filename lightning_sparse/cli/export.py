"""``lightning-sparse export``: a finished run as an ONNX file, or its weights as CSR."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.exchange.csr import check_csr, csr_bytes, csr_from_bytes
from lightning_sparse.exchange.onnx_file import (
    OPSET,
    OUTPUT_TOLERANCE,
    check_onnx,
    onnx_bytes,
    require_onnx,
)
from lightning_sparse.execution.build import build_data, build_network, load_state_
from lightning_sparse.files.storage import write_bytes_atomic
from lightning_sparse.paths.end_points import EndPoint, load_end_point
from lightning_sparse.settings.compose import Composed
from lightning_sparse.training.run import WEIGHTS_FILE

_ENDINGS = {"onnx": ".onnx", "csr": ".csr.safetensors"}


def run(settings: Composed) -> None:
    """Make the file in memory, check it there, and only then write it.

    Raises:
        UserError: If there is no such run, it cannot be written in this form, or what was made does
            not give what the run gives.
    """
    wanted = settings.export
    if wanted.run is None:
        raise UserError("export.run is not given; name a finished run: export.run=runs/NAME")
    folder = Path(wanted.run)
    if wanted.format == "onnx":
        require_onnx()
    end = load_end_point(folder, "end", name=f"export.run={folder}")
    make = _onnx if wanted.format == "onnx" else _csr
    data, checked = make(settings, end, folder)
    name = f"{end.run.run_id}{_ENDINGS[wanted.format]}"
    out = Path(wanted.out or Path("exports", name))
    write_bytes_atomic(out, data)
    print(f"{out}: {len(data):,} bytes; {checked}")


def _csr(_: Composed, end: EndPoint, folder: Path) -> tuple[bytes, str]:
    if end.masks is None:
        raise UserError(
            f"export.run={folder}: keeps all its weights, so that nothing of it is sparse; name a "
            "sparse run, or export.format=onnx"
        )
    data = csr_bytes(end.state, end.masks, run_id=end.run.run_id)
    network = csr_from_bytes(data, where=f"export.run={folder}")
    worst = check_csr(network, end.state, end.masks)
    return data, (
        f"{len(network.layers)} weights as CSR, kept {end.run.kept:,} of {end.run.prunable:,}; "
        f"read back as they were, and their products are the dense ones within {worst:.0e}"
    )


def _onnx(settings: Composed, end: EndPoint, folder: Path) -> tuple[bytes, str]:
    trained = end.run.config.get("model")
    if trained != settings.model:
        raise UserError(
            f"export.run={folder}: was trained with model={trained}, and these settings say "
            f"{settings.model}; give those of the run, such as experiment={end.run.experiment}"
        )
    data = build_data(settings)
    network = build_network(replace(settings, compile=None), data.source)
    load_state_(network, dict(end.state), folder / WEIGHTS_FILE)
    num_images = settings.export.num_images
    images = _first(num_images, (batch for batch, _ in data.test_batches()))
    content = onnx_bytes(network, images[:1].repeat(2, 1, 1, 1))
    # Of several sizes, one among them, since any is promised.
    worst = check_onnx(content, network, [images[:1], *images.split(data.evaluation_batch_size)])
    return content, (
        f"opset {OPSET}, any number of images at a time; the logits of {len(images)} test images "
        f"differ by {worst:.0e} of the largest, {OUTPUT_TOLERANCE:.0e} being allowed"
    )


def _first(number: int, batches: Iterator[Tensor]) -> Tensor:
    """Return the first images, or all if there are not so many."""
    taken: list[Tensor] = []
    for batch in islice(batches, number):
        taken.append(batch.cpu())
        if sum(map(len, taken)) >= number:
            break
    return torch.cat(taken)[:number]
