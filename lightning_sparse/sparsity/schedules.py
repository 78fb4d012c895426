"""Functions from the optimizer step to a sparsity or a share of weights."""

import math


def cubic_sparsity(step: int, *, start: int, end: int, initial: float, final: float) -> float:
    """Interpolate from ``initial`` to ``final`` sparsity, fast first and slow at the end.

    Implements equation 1 of Zhu & Gupta, "To prune, or not to prune" (2017),
    https://arxiv.org/abs/1710.01878. One deviation: the value is continuous in ``step``; the
    paper's staircase comes from the method, which asks only every ``update_every`` steps.

    Args:
        step: Optimizer steps completed so far.
        start: Step at which sparsity starts to rise; ``initial`` holds up to and including it.
        end: First step at which ``final`` is reached; it holds from there on.
        initial: Sparsity before ``start``, a fraction in [0, 1].
        final: Sparsity from ``end`` on, a fraction in [0, 1].

    Returns:
        Target sparsity at ``step``: the fraction of prunable weights to remove, in [0, 1].

    Raises:
        ValueError: If ``end`` is not after ``start``.

    Example:
        >>> round(cubic_sparsity(5, start=0, end=10, initial=0.0, final=0.8), 3)
        0.7
        >>> cubic_sparsity(99, start=0, end=10, initial=0.0, final=0.8)
        0.8
    """
    if end <= start:
        raise ValueError(f"end step {end} is not after start step {start}")
    if step <= start:
        return initial
    if step >= end:
        return final
    remaining = (end - step) / (end - start)
    return final + (initial - final) * remaining**3


def cosine_decay(step: int, *, num_steps: int, initial: float, final: float = 0.0) -> float:
    """Fall from ``initial`` to ``final`` along half a cosine; held there afterwards.

    The share of weights that RigL (Evci et al. 2020, section 3) and ITOP (Liu et al. 2021) replace.

    Args:
        step: Steps since the start, at least 0.
        num_steps: Steps until ``final`` is reached, at least 1.
        initial: Value at step 0.
        final: Value from ``num_steps`` on.

    Example:
        >>> ends = {"initial": 0.5, "final": 0.005}
        >>> shares = [cosine_decay(step, num_steps=4, **ends) for step in (0, 1, 4)]
        >>> [round(share, 6) for share in shares]
        [0.5, 0.427509, 0.005]
    """
    progress = min(step, num_steps) / num_steps
    return final + (initial - final) * (1 + math.cos(math.pi * progress)) / 2
