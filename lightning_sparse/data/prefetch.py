"""Brings batches onto an accelerator while it still works on the one before."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


@runtime_checkable
class Transfer(Protocol):
    """How batches get to where they are used."""

    def fetch(self, batches: Iterator[Batch]) -> Batch | None:
        """Ask for the next batch and begin to bring it there; None if there is none."""

    def hand_over(self, batch: Batch) -> None:
        """See that whoever gets the batch finds it there."""


def one_ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the batches on ``device``, in their order, while the next one is on its way there.

    On a CPU they are passed on as they are. On an accelerator what makes a batch (its copy, and
    operations that its loader puts on the current stream) runs beside the work on the batch before,
    and the host does not wait. A batch on the host is read to its end before the next is asked for,
    so that its memory may be used again; one on the accelerator must have memory of its own.

    Args:
        batches: Images and labels.
        device: Where they are wanted.
    """
    if device.type == "cpu":
        return iter(batches)
    return _in_turns(iter(batches), transfer_to(device))


def transfer_to(device: torch.device) -> Transfer:
    """Return the best way to an accelerator."""
    return StreamTransfer(device) if device.type == "cuda" else PlainTransfer(device)


def _in_turns(batches: Iterator[Batch], transfer: Transfer) -> Iterator[Batch]:
    batch = transfer.fetch(batches)
    while batch is not None:
        following = transfer.fetch(batches)
        transfer.hand_over(batch)
        yield batch
        batch = following


class PlainTransfer:
    """A transfer on the stream that everything is on.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def fetch(self, batches: Iterator[Batch]) -> Batch | None:
        """See `Transfer`."""
        batch = next(batches, None)
        if batch is None:
            return None
        images, labels = (part.to(self._device) for part in batch)
        return images, labels

    def hand_over(self, batch: Batch) -> None:
        """Do nothing: whatever comes later on the stream finds the batch."""


class StreamTransfer:
    """A transfer on a CUDA stream of its own.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._arrivals: deque[torch.cuda.Event] = deque()

    def fetch(self, batches: Iterator[Batch]) -> Batch | None:
        """See `Transfer`."""
        if self._arrivals:
            # Of the copy alone, begun a step ago: the work on batches is on another stream.
            self._arrivals[-1].synchronize()
        # Not around the whole iteration: the stream would be the current one at every yield.
        with torch.cuda.stream(self._stream):
            batch = next(batches, None)
            if batch is None:
                return None
            images, labels = (part.to(self._device, non_blocking=True) for part in batch)
            self._arrivals.append(self._stream.record_event())
        return images, labels

    def hand_over(self, batch: Batch) -> None:
        """See `Transfer`."""
        using = torch.cuda.current_stream(self._device)
        using.wait_event(self._arrivals.popleft())
        for part in batch:
            # Otherwise its memory would be given away once the host is done with it.
            part.record_stream(using)
