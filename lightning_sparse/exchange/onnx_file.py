"""A network as an ONNX file, whose outputs are compared with the network's before it is written."""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_sparse.errors import UserError, theirs

OPSET = 18
"""Version of the operators that is written: the one torch's exporter is made for."""

INPUT, OUTPUT = "images", "logits"

OUTPUT_TOLERANCE = 1e-4
"""Largest difference of a logit, as a part of the largest one of its batch."""

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """See that the packages are there.

    Raises:
        UserError: Naming those that are not, and how they are installed.
    """
    missing = []
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UserError(
            f"export.format=onnx needs {', '.join(missing)}, which are not installed: "
            "`pip install 'lightning-sparse[onnx]'`, or export.format=csr, which needs nothing more"
        )


def onnx_bytes(network: nn.Module, images: Float[Tensor, "n c h w"]) -> bytes:
    """Return the ONNX file of a network in evaluation mode, for batches of any size.

    Weights keep their names, and masked ones their zeros, unless a batch norm is folded into them.

    Args:
        network: Is left in evaluation mode.
        images: What it is traced with, at least two: exporters take a size of one for a constant.

    Raises:
        UserError: If the network cannot be written in ONNX.
    """
    network.eval()
    with (
        theirs("export.format=onnx", "export.format=csr needs no graph of the network"),
        _quiet_exporter(),
        torch.no_grad(),
    ):
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
    _forget_where_it_was_made(model.graph)
    return bytes(model.SerializeToString())


def check_onnx(data: bytes, network: nn.Module, batches: Iterable[Tensor]) -> float:
    """Run the file by onnxruntime and compare its logits with the network's.

    Args:
        data: The file.
        network: What it was made from, on the CPU.
        batches: Images [n, c, h, w], of different batch sizes.

    Returns:
        Largest difference that was found, as in `OUTPUT_TOLERANCE`.

    Raises:
        UserError: If onnxruntime cannot run it, or a difference is larger.
    """
    network.eval()
    session = _session(data)
    worst = 0.0
    for images in batches:
        with torch.no_grad():
            expected = network(images)
        with theirs(f"the ONNX file does not run on {len(images)} images"):
            [found] = session.run([OUTPUT], {INPUT: images.contiguous().numpy()})
        difference = (torch.from_numpy(found) - expected).abs().max()
        worst = max(worst, float(difference / expected.abs().max().clamp_min(1e-30)))
        if not worst <= OUTPUT_TOLERANCE:
            raise UserError(
                f"the ONNX file's logits differ by {worst:.1e} of the largest from the network's, "
                f"more than {OUTPUT_TOLERANCE:.0e}; nothing was written"
            )
    return worst


def _forget_where_it_was_made(graph: Any) -> None:
    """Remove the exporter's notes: source lines, and the folders of this machine."""
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.metadata_props[:]


def _session(data: bytes) -> Any:
    runtime = importlib.import_module("onnxruntime")
    with theirs("the ONNX file cannot be loaded by onnxruntime"):
        return runtime.InferenceSession(data, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep its progress and advice from the screen; what it raises is shown."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
