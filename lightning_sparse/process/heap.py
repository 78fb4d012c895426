"""Keeps memory that was freed, for the next training step.

When a step has freed its activations, glibc gives the end of the heap back to the kernel, and
tensors of 32 MB and more always; the next step then touches the same pages for the first time
again. In a step of ResNet-50 on two cores that is up to a fifth of the time, and differs from step
to step with how the heap happens to lie.
"""

import ctypes

# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, so that its size stays at its peak; True if it can.

    Other C libraries than glibc do as they do.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER) and mallopt(_M_MMAP_MAX, 0))
