"""The control points of a fitted curve as a file: every point's parameters by name."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors, save_tensors
from lightning_sparse.paths.layout import WeightLayout

CONTROL_POINTS_FILE = "control_points.safetensors"


def save_control_points(
    all_points: Float[Tensor, "points weights"], layout: WeightLayout, run_dir: Path
) -> None:
    """Name every point's parameters ``0/features.0.weight``, for anyone to load.

    Args:
        all_points: End, control points, end.
        layout: Of the network.
        run_dir: The curve's folder.
    """
    named = {
        f"{k}/{name}": weight
        for k, point in enumerate(all_points)
        for name, weight in layout.unflatten(point).items()
    }
    save_tensors(named, run_dir / CONTROL_POINTS_FILE)


def load_control_points(
    layout: WeightLayout, run_dir: Path, num_points: int
) -> Float[Tensor, "points weights"]:
    """Read what `save_control_points` has written, bit for bit.

    Raises:
        UserError: If the file is missing or damaged, or holds other points or another network.
    """
    points: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_tensors(run_dir / CONTROL_POINTS_FILE).items():
        place, _, parameter = name.partition("/")
        points.setdefault(place, {})[parameter] = tensor
    if points.keys() != {str(place) for place in range(num_points)}:
        raise UserError(
            f"{run_dir / CONTROL_POINTS_FILE}: holds points {', '.join(points)}, not 0 to "
            f"{num_points - 1}; remove the folder and fit the curve again"
        )
    return torch.stack([layout.flatten(points[str(place)]) for place in range(num_points)])
