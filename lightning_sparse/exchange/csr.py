"""A sparse network as one safetensors file: masked layers as CSR, everything else as it is.

A weight is flattened to a matrix, one row per output; its file entries are those that
`torch.sparse_csr_tensor` takes: ``NAME.values``, ``NAME.col_indices``, ``NAME.crow_indices`` and,
since the matrix has lost it, ``NAME.shape``. Stored is what the mask keeps, zeros among it too, so
that the mask can be read back.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import tensors_as_bytes, tensors_from_bytes
from lightning_sparse.sparsity.masks import Masks

_FORMAT = "lightning_sparse.csr/1"
_PARTS = ("values", "col_indices", "crow_indices", "shape")

PRODUCT_TOLERANCE = 1e-5
"""Largest difference of a sparse and a dense product, as a part of the sum of absolute terms."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CsrLayer:
    """One weight as a compressed sparse matrix; rows are outputs.

    Attributes:
        values: Kept entries, row by row.
        col_indices: Column of each.
        crow_indices: Where each row begins in ``values``, and the end of the last one.
        shape: Of the weight, before it was flattened to a matrix.
    """

    values: Float[Tensor, " kept"]
    col_indices: Int32[Tensor, " kept"]
    crow_indices: Int32[Tensor, " rows_and_end"]
    shape: tuple[int, ...]

    def matrix(self) -> Tensor:
        """Return the sparse matrix, for ``matrix @ x`` with ``x`` of shape [columns, n]."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            return torch.sparse_csr_tensor(
                self.crow_indices,
                self.col_indices,
                self.values,
                self._flat_shape,
                check_invariants=True,  # wrong indices would read memory that is not theirs
            )

    def mask(self) -> Bool[Tensor, "..."]:
        """Return the mask, in the weight's own shape."""
        mask = torch.zeros(self._flat_shape, dtype=torch.bool)
        mask[self._rows(), self.col_indices.long()] = True
        return mask.reshape(self.shape)

    def dense(self) -> Float[Tensor, "..."]:
        """Return the weight, with zeros where the mask removed it."""
        weight = torch.zeros(self._flat_shape, dtype=self.values.dtype)
        weight[self._rows(), self.col_indices.long()] = self.values
        return weight.reshape(self.shape)

    @property
    def _flat_shape(self) -> tuple[int, int]:
        rows = self.shape[0]
        return rows, torch.Size(self.shape).numel() // rows

    def _rows(self) -> Tensor:
        return torch.repeat_interleave(torch.arange(self.shape[0]), self.crow_indices.diff())


@dataclass(frozen=True, kw_only=True, eq=False)
class CsrNetwork:
    """What a file holds.

    Attributes:
        layers: Weights that were masked, by name.
        dense: All other entries of the state dict.
        run_id: The run that they are from.
    """

    layers: Mapping[str, CsrLayer]
    dense: Mapping[str, Tensor]
    run_id: str

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state dict that the file was made from, in the order of the names."""
        sparse = {name: layer.dense() for name, layer in self.layers.items()}
        return dict(sorted({**self.dense, **sparse}.items()))

    def masks(self) -> Masks:
        """Return the masks of the layers that have one; the others keep everything."""
        return {name: layer.mask() for name, layer in self.layers.items()}


def csr_layer(weight: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> CsrLayer:
    """Compress one weight.

    Example:
        >>> weight, mask = torch.tensor([[0.0, 3.0], [0.0, 0.0]]), torch.tensor([[0, 1], [1, 0]])
        >>> layer = csr_layer(weight, mask.bool())
        >>> layer.values, layer.crow_indices
        (tensor([3., 0.]), tensor([0, 1, 2], dtype=torch.int32))
    """
    flat_mask, flat = mask.flatten(1), weight.flatten(1)
    counts = flat_mask.sum(dim=1)
    return CsrLayer(
        values=flat[flat_mask],
        col_indices=flat_mask.nonzero()[:, 1].int(),
        crow_indices=torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int(),
        shape=tuple(weight.shape),
    )


def csr_bytes(state: Mapping[str, Tensor], masks: Masks, *, run_id: str) -> bytes:
    """Return the contents of a file.

    Args:
        state: The network's state dict.
        masks: Its masks; layers that keep everything stay as they are.
        run_id: The run that they are from.

    Raises:
        UserError: If a mask fits no weight, or a weight outside its mask is not zero.
    """
    sparse = {name: mask for name, mask in masks.items() if not bool(mask.all())}
    for name, mask in sparse.items():
        if name not in state or state[name].shape != mask.shape:
            raise UserError(f"{run_id}: its mask of {name!r} fits no weight; make the run again")
        if num_wrong := int(state[name][~mask].count_nonzero()):
            raise UserError(f"{run_id}: {num_wrong} masked weights of {name!r} are not zero")
    tensors = {name: tensor for name, tensor in state.items() if name not in sparse}
    for name, mask in sparse.items():
        layer = csr_layer(state[name], mask)
        parts = (layer.values, layer.col_indices, layer.crow_indices, torch.tensor(layer.shape))
        tensors |= {f"{name}.{part}": value for part, value in zip(_PARTS, parts, strict=True)}
    metadata = {"format": _FORMAT, "layers": json.dumps(sorted(sparse)), "run_id": run_id}
    return tensors_as_bytes(tensors, metadata=metadata)


def read_csr(file: Path) -> CsrNetwork:
    """Read a file.

    Raises:
        UserError: If there is none, it is damaged, or it holds something else.

    Example:
        >>> network = read_csr(Path("exports/NAME.csr.safetensors"))  # doctest: +SKIP
        >>> network.layers["classifier.weight"].matrix() @ features.T  # doctest: +SKIP
    """
    if not file.is_file():
        raise UserError(f"no file {file}; `lightning-sparse export` makes CSR files")
    return csr_from_bytes(file.read_bytes(), where=str(file))


def csr_from_bytes(data: bytes, *, where: str) -> CsrNetwork:
    """Read the contents of a file; ``where`` names it in messages.

    Raises:
        UserError: If they are damaged, or something else.
    """
    tensors, metadata = tensors_from_bytes(data, where=where)
    if metadata.get("format") != _FORMAT:
        raise UserError(f"{where} is no CSR file of ours; make one with `lightning-sparse export`")
    try:
        layers = {name: _take(tensors, name) for name in json.loads(metadata["layers"])}
        return CsrNetwork(layers=layers, dense=tensors, run_id=metadata["run_id"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{where} is damaged ({error}); export the run again") from error


def check_csr(network: CsrNetwork, state: Mapping[str, Tensor], masks: Masks) -> float:
    """Compare what was read back with what was written, exactly, and its products.

    Returns:
        Largest difference between a sparse product and a dense one, as in `PRODUCT_TOLERANCE`.

    Raises:
        UserError: Naming the first entry that is not as it was, or the first product that differs.
    """
    found = network.state_dict()
    for name in dict.fromkeys([*state, *found]):
        if name not in found or name not in state or not _are_equal(found[name], state[name]):
            raise UserError(f"CSR: {name!r} is not read back as it was written; nothing was kept")
    worst = 0.0
    for name, layer in network.layers.items():
        if not torch.equal(layer.mask(), masks[name]):
            raise UserError(f"CSR: the mask of {name!r} is not read back; nothing was kept")
        difference = _product_difference(layer, state[name])
        if difference > PRODUCT_TOLERANCE:
            raise UserError(
                f"CSR: the product with {name!r} differs by {difference:.1e} from the dense one, "
                f"more than {PRODUCT_TOLERANCE:.0e}; nothing was kept"
            )
        worst = max(worst, difference)
    return worst


def _are_equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have the same type, shape and values; zeros of either sign are equal."""
    return first.dtype == second.dtype and torch.equal(first, second)


def _product_difference(layer: CsrLayer, weight: Tensor) -> float:
    matrix, flat = layer.matrix().float(), weight.flatten(1).float()
    vectors = torch.randn(flat.shape[1], 4, generator=torch.Generator().manual_seed(0))
    scale = flat.abs() @ vectors.abs()
    difference = (matrix @ vectors - flat @ vectors).abs()
    return float((difference / scale.clamp_min(torch.finfo(scale.dtype).tiny)).max())


def _take(tensors: dict[str, Tensor], name: str) -> CsrLayer:
    values, columns, rows, shape = (tensors.pop(f"{name}.{part}") for part in _PARTS)
    layer = CsrLayer(
        values=values, col_indices=columns, crow_indices=rows, shape=tuple(shape.tolist())
    )
    layer.matrix()  # torch checks that the indices make sense
    return layer
