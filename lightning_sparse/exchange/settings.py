"""Settings of what goes to other programs and comes from them."""

from dataclasses import dataclass

from lightning_sparse.fields import NOTHING, setting


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """A finished run in another form.

    Attributes:
        run: Its folder.
        format: ``onnx`` or ``csr``.
        out: The file; None names one after the run.
        num_images: Test images whose logits are compared.
    """

    run: str | None = setting(example="runs/NAME", is_place=True)
    format: str = setting(choices=("onnx", "csr"))
    out: str | None = setting(example="exports/NAME.onnx", is_place=True)
    num_images: int = setting(at_least=1)


@dataclass(frozen=True, kw_only=True)
class PublishedSettings:
    """A sparse network of others. What decides its run is the hash of the file.

    Attributes:
        file: Where it is.
        layout: How it is written there.
        start: A file of the weights that its training began with; None if they are not known.
    """

    file: str | None = setting(example="rigl.npz", is_place=True, decides=NOTHING)
    layout: str | None = setting(example="rigl", decides=NOTHING)
    start: str | None = setting(example="start.npz", is_place=True, decides=NOTHING)
