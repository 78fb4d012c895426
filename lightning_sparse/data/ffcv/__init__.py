"""FFCV's files: written, and read by its loader with a decoder of our own."""

from numba import config

# FFCV starts numba's threads as it is imported. On one core TBB, which numba takes where it is
# installed, keeps a process from ending in which a thread that is gone has run a parallel loop.
if config.NUMBA_NUM_THREADS == 1 and config.THREADING_LAYER == "default":
    config.THREADING_LAYER = "workqueue"
