"""Functions from the optimizer step to the target sparsity."""


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
