"""Slow and obvious second implementations of what ``sparsity`` does fast. No package imports."""

from collections.abc import Mapping, Sequence
from math import prod


def sorted_top_k(scores: Sequence[float], num_kept: int) -> list[bool]:
    """Sort positions by falling score, earlier first among equals, and keep the head."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = set(order[:num_kept])
    return [i in kept for i in range(len(scores))]


def bisected_densities(
    relative: Mapping[str, float], sizes: Mapping[str, int], sparsity: float
) -> dict[str, float]:
    """Find the scale at which densities, cut off at 1, keep the asked-for number of weights."""
    budget = (1 - sparsity) * sum(sizes.values())
    low, high = 0.0, 1 / min(relative.values())
    for _ in range(200):
        scale = (low + high) / 2
        kept = sum(min(1.0, scale * relative[name]) * sizes[name] for name in sizes)
        low, high = (scale, high) if kept < budget else (low, scale)
    return {name: min(1.0, low * relative[name]) for name in sizes}


def gradual_sparsities(
    *, num_steps: int, begin: int, end: int, frequency: int, final: float
) -> list[float]:
    """Sparsity in force after each step 0..num_steps, by walking through them one at a time."""
    in_force, history = 0.0, []
    for step in range(num_steps + 1):
        if step in {*range(begin, end, frequency), end}:
            in_force = final * (1 - (1 - (step - begin) / (end - begin)) ** 3)
        history.append(in_force)
    return history


def convolution_flops(
    image: tuple[int, int], weight: Sequence[int], *, stride: int, padding: int
) -> int:
    """Count multiply-adds of a square convolution by visiting every position it is applied at."""
    kernel = weight[2]
    visited = 0
    for top in range(-padding, image[0] + padding - kernel + 1, stride):
        for _ in range(-padding, image[1] + padding - kernel + 1, stride):
            visited += top < image[0] + padding
    return 2 * visited * prod(weight)
