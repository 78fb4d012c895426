"""Bends of a chain go where the loss between them is highest: AutoNEB's idea, for a fixed number.

Draxler et al. 2018 (https://arxiv.org/abs/1803.00885) insert further pivots where the loss between
two of them is highest. Deviation: the bend that is inserted there is taken from where it does the
least, so that a chain keeps its number of free coordinates; and bends are fitted as Garipov et al.
2018 do, by the mean loss along the chain, not pivot by pivot with springs.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

NUM_BATCHES = 8
"""Fixed training batches that a loss between bends is measured on."""

Points = Float[Tensor, "points weights"]


def middles(points: Points) -> Float[Tensor, "pieces weights"]:
    """Return the middle of every piece of a chain."""
    return (points[:-1] + points[1:]) / 2


def shortcuts(points: Points) -> Float[Tensor, "bends weights"]:
    """Return for every bend the middle of the straight line past it."""
    return (points[:-2] + points[2:]) / 2


def chosen_move(
    of_pieces: Sequence[float], of_shortcuts: Sequence[float]
) -> tuple[int, int] | None:
    """Choose a bend, and the piece that it goes into.

    Args:
        of_pieces: Loss in the middle of every piece, from the start on.
        of_shortcuts: Loss in the middle of the line past every bend.

    Returns:
        Both counted from 0, the bend of the lowest shortcut that does not touch the highest piece;
        None where no such shortcut lies below that piece.

    Example:
        >>> chosen_move([1.0, 9.0, 2.0, 3.0], [4.0, 4.0, 5.0])
        (2, 1)
        >>> chosen_move([1.0, 4.0, 2.0, 3.0], [4.0, 4.0, 5.0]) is None
        True
    """
    highest = max(range(len(of_pieces)), key=of_pieces.__getitem__)
    free = [bend for bend in range(len(of_shortcuts)) if bend not in {highest - 1, highest}]
    bend = min(free, key=of_shortcuts.__getitem__, default=None)
    if bend is None or not of_shortcuts[bend] < of_pieces[highest]:
        return None
    return bend, highest


def moved(rows: Tensor, move: tuple[int, int], new: Tensor) -> Tensor:
    """Take the row of one bend out, and put a new one where it goes; all others keep their order.

    Args:
        rows: One for each bend, without the ends.
        move: As `chosen_move` gives it.
        new: The row that is put in.

    Example:
        >>> rows = torch.tensor([[1.0], [2.0], [3.0]])
        >>> moved(rows, (2, 0), torch.tensor([0.5])).squeeze().tolist()
        [0.5, 1.0, 2.0]
        >>> moved(rows, (0, 3), torch.tensor([3.5])).squeeze().tolist()
        [2.0, 3.0, 3.5]
    """
    bend, piece = move
    parts = [row for place, row in enumerate(rows) if place != bend]
    before = sum(place != bend for place in range(piece))
    return torch.stack([*parts[:before], new, *parts[before:]])
