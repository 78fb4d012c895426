"""Under DDP, gradients are summed alike at every step, also at the first after a resume."""

import functools
import operator

import pytorch_lightning as pl
from torch.nn.parallel import DistributedDataParallel


def settle_gradient_buckets(trainer: pl.Trainer) -> None:
    """Let DDP lay out its buckets before the first step instead of after it.

    DDP averages gradients in buckets, and lays these out anew after the first backward pass, in the
    order in which gradients became ready. With more than two ranks the place of a gradient in its
    bucket decides in which order the ranks are summed, so that the first step of a process would
    differ from all others by rounding (with four gloo ranks, resumed runs did). One backward pass
    that gives zeros makes the buckets final in every process alike. It goes from the last parameter
    to the first, as that of most networks does, and touches neither buffers nor generators. The
    public way, ``find_unused_parameters``, searches the graph at every step.
    """
    model = trainer.strategy.model
    if not isinstance(model, DistributedDataParallel):
        return
    if model.find_unused_parameters or model.static_graph:
        return
    parameters = [item for item in model.module.parameters() if item.requires_grad]
    model.reducer.prepare_for_backward([])
    functools.reduce(operator.add, [0 * item.flatten()[0] for item in parameters]).backward()
    model.reducer._rebuild_buckets()  # noqa: SLF001 (what DDP's forward calls)
    for item in parameters:
        item.grad = None
