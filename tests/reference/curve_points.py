"""Slow and obvious second implementation of points on curves; no package imports."""

import itertools


def plain_point(module, t):
    """Return the point of a `PathModule` at ``t``, by autograd, one control point after another."""
    of_start, of_first, *of_others, of_end = module.basis_at(t).tolist()
    first, *others = module.control_points.unbind()
    inner = of_first * first
    # Not as a product of matrices: in which order that adds up depends on the processor.
    for point, weight in zip(others, of_others, strict=True):
        inner = inner.add(point, alpha=weight)
    return of_start * module._ends[0] + of_end * module._ends[1] + inner


def on_polygon(points, t):
    """Walk along straight pieces, each in an equal part of t; the outer ones go on beyond."""
    for number, (here, there) in enumerate(itertools.pairwise(points), start=1):
        if t * (len(points) - 1) <= number or number == len(points) - 1:
            part = t * (len(points) - 1) - (number - 1)
            return here + part * (there - here)
    raise AssertionError
