"""One file per row: what is measured, against which peer, and what must come out.

Every file has a function ``trials(scale)`` that yields its trials one after the other, so that
what one has built is gone before the next begins.
"""

ROWS = (
    "masked_step",
    "trainer",
    "mask_update",
    "methods",
    "ffcv_loader",
    "digits_loader",
    "path_step",
    "path_evaluation",
    "checkpoint",
    "command_line",
    "reproduce",
    "memory",
    "growth",
)
"""In the order of the table."""

ACCELERATOR_ROWS = (
    "accelerator",
    "mask_update",
    "methods",
    "gpu_train",
    "gpu_curve",
    "gpu_path_evaluation",
    "gpu_precision",
    "gpu_deterministic",
    "checkpoint",
)
"""Those of ``make bench-gpu``; three of them are measured on both."""
