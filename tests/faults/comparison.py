"""Whether two runs are one and the same: every file that they leave, tensor by tensor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.training.problems import bits, history

# How long it took, when, and in how many parts: all else must agree.
_OF_THE_WAY = {"wall_seconds", "date", "num_resumed", "checkpoint_seconds"}


def differences(one: Path, other: Path) -> list[str]:
    """Name everything in which two finished runs differ that kept their last checkpoint."""
    files = sorted(file.name for file in one.glob("*.safetensors"))
    different = [name for name in files if (one / name).read_bytes() != (other / name).read_bytes()]
    if sorted(file.name for file in other.glob("*.safetensors")) != files:
        different.append("names of files")
    if history(one) != history(other):
        different.append("history.jsonl")
    if record_of(one) != record_of(other):
        different.append("record.json")
    first, second = (dict(_leaves(_last_checkpoint(run_dir))) for run_dir in (one, other))
    different += [name for name in first.keys() | second if first.get(name) != second.get(name)]
    return different


def record_of(run_dir: Path) -> Any:
    """What a record says, but for how long it took, when, and in how many parts."""
    body = json.loads((run_dir / "record.json").read_text())
    return _without_the_way(body)


def _without_the_way(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _without_the_way(item) for name, item in value.items() if name not in _OF_THE_WAY}


def _last_checkpoint(run_dir: Path) -> dict[str, Any]:
    newest = max(
        (run_dir / "checkpoints").glob("step_*"), key=lambda item: int(item.name.split("_")[1])
    )
    checkpoint: dict[str, Any] = torch.load(newest / "state.pt", weights_only=True)
    for state in checkpoint["callbacks"].values():
        for entry in state.get("history", []):
            entry |= {"images_per_second": None, "peak_memory_gib": None}
    # Lightning counts loggers' batches and restarts in here; no result hangs on them.
    return {name: item for name, item in checkpoint.items() if name != "loops"} | {
        "loader": checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    }


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Flatten nested values; tensors become bytes, which tell zeros of either sign apart."""
    if isinstance(value, torch.Tensor):
        return [(name, (tuple(value.shape), bits(value)))]
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items() if key not in _OF_THE_WAY]
    elif isinstance(value, list | tuple):
        items = [(str(position), item) for position, item in enumerate(value)]
    else:
        return [(name, repr(value))]
    return [leaf for key, item in items for leaf in _leaves(item, f"{name}/{key}")]
