"""Sparse networks that others have published, read into the names of torchvision's ResNets.

Four layouts, by the code that wrote them:

* ``state_of_sparsity`` (github.com/google-research/google-research, state_of_sparsity) and ``rigl``
  (github.com/google-research/rigl): variables of TensorFlow as an ``.npz`` of flat names, such as
  ``resnet_model/bottleneck_2_block_group3_1_1/weights`` and ``/mask``. Without TensorFlow here, it
  is made where TensorFlow is::

      r = tf.train.load_checkpoint(PREFIX)
      np.savez(FILE, **{n: r.get_tensor(n) for n in r.get_variable_to_shape_map()})

* ``acdc`` (github.com/IST-DASLab/ACDC): ``model_state_dict`` of a torch file, with ``module.`` and
  ``._layer.`` in its names and masks in ``_weight_mask``, or as the zeros of unwrapped weights.
* ``str`` (github.com/RAIVNLab/STR): ``state_dict`` of a torch file, with a ``sparseThreshold`` per
  layer under which weights are zero, and a 1x1 convolution as the last layer.

One thing of TensorFlow's networks is not in their weights: the first pooling pads below and to the
right alone. Read into torchvision's ResNet, such a network sees the image moved by one pixel there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError, theirs
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.masks import Masks, apply_masks_

_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """A network that was read.

    Attributes:
        state: State dict of the network that it was read for, zero outside the masks.
        masks: Of all its prunable weights; a layer that was not pruned keeps everything.
    """

    state: Mapping[str, Tensor]
    masks: Masks


def read_published(
    file: Path, layout: str, network: nn.Module, *, masked: bool = True
) -> Published:
    """Read weights and masks for ``network``, whose names and shapes decide what is looked for.

    Args:
        file: An ``.npz`` for the layouts of TensorFlow, else a file of ``torch.save``, of which
            tensors and plain values are read and nothing else: no code in it runs.
        layout: One of `LAYOUTS`.
        network: For example torchvision's ResNet-50; it is left as it is.
        masked: Whether its masks count; not for weights that a training began with.

    Raises:
        UserError: If the file is missing, of another layout, or of another network.
    """
    if layout not in LAYOUTS:
        raise UserError(f"published.layout={layout}: choose one of {', '.join(LAYOUTS)}")
    if not file.is_file():
        raise UserError(f"published.file={file}: there is no such file")
    own = network.state_dict()
    state, masks = LAYOUTS[layout](file, own)
    _require_fit(state, own, file)
    fitting = {name: state[name].to(own[name].dtype) for name in own}
    if masked and not masks:
        raise UserError(
            f"published.file={file}: has no variable called mask; of State of Sparsity only "
            "magnitude and random pruning are read, not variational dropout nor L0"
        )
    chosen = masks if masked else {}
    all_masks = {name: _mask(name, fitting[name], chosen) for name in prunable_weights(network)}
    apply_masks_(fitting, all_masks)
    return Published(state=fitting, masks=all_masks)


def _mask(name: str, weight: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
    if name not in masks:
        return torch.ones_like(weight, dtype=torch.bool)
    return masks[name] != 0


def _require_fit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], file: Path) -> None:
    for name in (*own, *state):
        if name not in own or name not in state:
            lacking = "the model lacks" if name in state else "the file lacks"
            raise UserError(
                f"published.file={file}: {lacking} {name!r}; choose the model= that was published"
            )
        if state[name].shape != own[name].shape:
            raise UserError(
                f"published.file={file}: {name!r} has shape {tuple(state[name].shape)}, the model "
                f"{tuple(own[name].shape)}; choose the model= and data= that were published"
            )


Read = Callable[[Path, Mapping[str, Tensor]], tuple[dict[str, Tensor], dict[str, Tensor]]]


def _tensorflow(
    file: Path, own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Look up every entry of the network by the name that TensorFlow's code gives it."""
    arrays = _arrays(file)
    masks_left = {name for name in arrays if name.endswith("/mask")}
    scopes = dict(_scopes(own))
    state: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name, tensor in own.items():
        module, _, part = name.rpartition(".")
        if part == _COUNTER:
            state[name] = torch.zeros_like(tensor)
            continue
        found = _variable(arrays, scopes.get(module, module), _suffixes(part, module))
        if found is None:
            continue  # named as missing by who compares
        state[name] = _as_torch(arrays[found])
        mask = f"{found.rpartition('/')[0]}/mask"
        if part == "weight" and mask in masks_left:
            masks[name] = _as_torch(arrays[mask])
            masks_left.remove(mask)
    if masks_left:
        raise UserError(
            f"published.file={file}: the model has no layer for {sorted(masks_left)[0]!r}; choose "
            "the model= that was published"
        )
    return state, masks


def _arrays(file: Path) -> dict[str, np.ndarray]:
    remedy = "make it as lightning_sparse.exchange.published says, where TensorFlow is"
    with (
        theirs(f"published.file={file}: no .npz of TensorFlow's variables", remedy),
        np.load(file, allow_pickle=False) as stored,
    ):
        return {re.sub(r":0$", "", name): stored[name] for name in stored.files}


def _scopes(own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the scope of every module of a ResNet, in the order in which TensorFlow made them.

    Batch norms have no names of their own there but numbers in that order, in which a block's
    shortcut comes before its convolutions.
    """
    kind = "bottleneck" if any(".conv3." in name for name in own) else "residual"
    yield "conv1", "initial_conv"
    yield "fc", "final_dense"
    norms = ["bn1"]
    for block in dict.fromkeys(re.findall(r"layer\d+\.\d+", " ".join(own))):
        group, number = re.fullmatch(r"layer(\d+)\.(\d+)", block).groups()  # type: ignore[union-attr]
        place = (
            f"block_group{group}_{number}_1"
            if int(number)
            else f"block_group_projection_block_group{group}"
        )
        if f"{block}.downsample.0.weight" in own:
            yield f"{block}.downsample.0", f"{kind}_projection_{place}"
            norms.append(f"{block}.downsample.1")
        for index in (1, 2, 3):
            if f"{block}.conv{index}.weight" in own:
                yield f"{block}.conv{index}", f"{kind}_{index}_{place}"
                norms.append(f"{block}.bn{index}")
    for index, module in enumerate(norms):
        yield module, f"batch_normalization_{index}" if index else "batch_normalization"


def _suffixes(part: str, module: str) -> tuple[str, ...]:
    if re.search(r"(bn\d|downsample\.1)$", module):
        return (_BATCH_NORM[part],)
    # Layers that are not pruned are made by another class, with its own names.
    return ("weights", "kernel") if part == "weight" else ("biases", "bias")


def _variable(arrays: Mapping[str, Any], scope: str, suffixes: tuple[str, ...]) -> str | None:
    """Find a variable, whatever scope the model itself stands in."""
    ends = tuple(f"/{scope}/{suffix}" for suffix in suffixes)
    found = [name for name in arrays if f"/{name}".endswith(ends)]
    return found[0] if len(found) == 1 else None


def _as_torch(array: np.ndarray) -> Tensor:
    """Put the output axis first: height, width, in, out become out, in, height, width."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if tensor.dim() == len("hwio"):
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.T.contiguous() if tensor.dim() == len("io") else tensor


def _acdc(file: Path, own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Take masks as they are, and zeros of weights that have been unwrapped."""
    state: dict[str, Tensor] = {}
    stored: dict[str, Tensor] = {}
    for name, tensor in _state_dict(file, "model_state_dict").items():
        module, _, part = name.rpartition(".")
        if part in {"_weight_mask", "_bias_mask"}:
            stored[f"{module}.{part.removeprefix('_').removesuffix('_mask')}"] = tensor
        else:
            state[name.replace("._layer.", ".")] = tensor
    for name, mask in stored.items():
        if name in state:
            state[name] = state[name] * (mask != 0)
    return _counted(state, own), _zeros(state)


def _str(file: Path, own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Apply the thresholds: sign(w) * relu(|w| - sigmoid(s)), as the paper's layers do."""
    stored = _state_dict(file, "state_dict")
    thresholds = {
        name.removesuffix(".sparseThreshold"): value
        for name, value in stored.items()
        if name.endswith(".sparseThreshold")
    }
    state = {
        name: value
        for name, value in stored.items()
        if not name.endswith((".sparseThreshold", ".sparseWeight"))
    }
    for module, threshold in thresholds.items():
        name = f"{module}.weight"
        if name in state:
            weight = state[name]
            state[name] = weight.sign() * (weight.abs() - threshold.reshape(()).sigmoid()).relu()
    for name, tensor in own.items():
        # The last layer is a 1x1 convolution there, mostly without a bias.
        if name in state and tensor.dim() == len("oi") and state[name].dim() == len("oihw"):
            state[name] = state[name].flatten(1)
        if name.endswith(".bias") and name not in state and f"{name[:-5]}.weight" in state:
            state[name] = torch.zeros_like(tensor)
    return _counted(state, own), _zeros(state)


def _zeros(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor != 0 for name, tensor in state.items() if tensor.dim() > 1}


def _counted(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the counters of batch norms that older files do not have."""
    counters = {name: torch.zeros_like(own[name]) for name in own if name.endswith(_COUNTER)}
    return {**counters, **state}


def _state_dict(file: Path, key: str) -> dict[str, Tensor]:
    loaded = _torch_file(file)
    state = loaded.get(key, loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not any(isinstance(item, Tensor) for item in state.values()):
        raise UserError(f"published.file={file}: holds no state dict, neither under {key!r}")
    return {
        str(name).removeprefix("module."): item
        for name, item in state.items()
        if isinstance(item, Tensor)
    }


class _Unread:
    """Stands for whatever class a file names: optimizers, schedules. It does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Forget what the file says of it."""


def _torch_file(file: Path) -> Any:
    remedy = "name a file that torch.save wrote"
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    except Exception as error:  # noqa: BLE001 (older files than torch 1.6: their classes are refused)
        foreign = []
        remedy = f"{remedy} ({type(error).__name__})"
    stand_ins: list[Any] = [(_Unread, name) for name in foreign]
    with (
        theirs(f"published.file={file}", remedy),
        torch.serialization.safe_globals(stand_ins),
    ):
        return torch.load(file, map_location="cpu", weights_only=True)


LAYOUTS: Mapping[str, Read] = {
    "state_of_sparsity": _tensorflow,
    "rigl": _tensorflow,
    "acdc": _acdc,
    "str": _str,
}
"""What reads each layout."""
