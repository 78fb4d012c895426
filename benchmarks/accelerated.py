"""What rows of a GPU share: sides with peaks, networks compiled anew, switches for a while."""

import contextlib
import gc
from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.pairing import Side
from benchmarks.workloads import Scale, timed
from lightning_sparse.models.compiling import compile_
from lightning_sparse.training.numerics import set_deterministic

_BYTES_PER_MB = 1e6


def side(what: str, build: Callable[[], Callable[[], object]], scale: Scale, repeats: int) -> Side:
    """Build work, warm it up, and make a side of it with the most memory that it takes.

    Args:
        what: As in `Side`.
        build: Makes the work, with all that it holds.
        scale: Names the device.
        repeats: Calls per measurement.
    """
    held = allocated_mb(scale)
    work = build()
    measure = timed(work, repeats=scale.choose(repeats, 1), scale=scale)
    return Side(what=what, measure=measure, peak_mb=peak_mb(work, held, scale))


def allocated_mb(scale: Scale) -> float:
    """Return what torch holds on the GPU now, in units of 10^6 bytes; 0 elsewhere."""
    is_on_gpu = scale.device.type == "cuda"
    return torch.cuda.memory_allocated() / _BYTES_PER_MB if is_on_gpu else 0.0


def peak_mb(work: Callable[[], object], held: float, scale: Scale) -> float | None:
    """Do ``work`` once; return the most that was allocated beyond ``held``, or None off a GPU.

    Other sides of a trial hold networks of their own, which are left out in this way.
    """
    if scale.device.type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / _BYTES_PER_MB - held


def forget_compiled(scale: Scale) -> None:
    """Forget what was compiled and free what was held, so that a trial begins like a process."""
    if not scale.is_tiny:
        torch.compiler.reset()
        gc.collect()
    if scale.device.type == "cuda":
        torch.cuda.empty_cache()


def compiled(network: nn.Module, scale: Scale) -> nn.Module:
    """Compile as a run does; tiny ones test what is around the compiler."""
    if not scale.is_tiny:
        compile_(network)
    return network


def under(switch: Callable[[], contextlib.AbstractContextManager[None]], made: Side) -> Side:
    """Return the side measured while a switch is on."""

    def measure() -> float:
        with switch():
            return made.measure()

    return Side(what=made.what, measure=measure, peak_mb=made.peak_mb)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let torch use deterministic algorithms alone, as a run of this project does on a GPU."""
    set_deterministic(value=True)
    try:
        yield
    finally:
        set_deterministic(value=False)
