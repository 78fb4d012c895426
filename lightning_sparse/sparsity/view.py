"""What a sparse method sees of a run: one frozen view, of which nothing costs until it is asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch

from lightning_sparse.sparsity.masks import Masks, Weights, full_masks
from lightning_sparse.streams import stream_generator


class AbstractNetworkProbe(ABC):
    """The network on fixed batches: what is asked is computed on copies, and changes nothing.

    The batches are the same at every step, after every resume and, all ranks together, on every
    number of ranks; each result is the mean over batches and ranks, so all ranks have the same
    bits. Everything is computed in the precision of the weights, without autocast.

    A normalisation whose scale is zero throughout, as the last one of a residual block often starts
    (Goyal et al. 2017, https://arxiv.org/abs/1706.02677), counts as one whose scale is one: else
    every gradient in the block would be zero, and nothing would tell its weights apart.
    """

    @abstractmethod
    def gradients(
        self,
        *,
        at: Weights | None = None,
        num_batches: int = 1,
        training: bool = True,
        temperature: float = 1.0,
    ) -> Weights:
        """Differentiate the training loss with respect to the prunable weights.

        Args:
            at: Where: prunable weights by name; None for those of the network.
            num_batches: Batches of a training step of one rank to average over, at least 1.
            training: Whether the network is in training mode, else in evaluation mode.
            temperature: What the network's outputs are divided by before the loss sees them.
        """

    @abstractmethod
    def hessian_times(
        self,
        vectors: Weights,
        *,
        at: Weights | None = None,
        num_batches: int = 1,
        training: bool = True,
        temperature: float = 1.0,
    ) -> Weights:
        """Multiply the loss's Hessian over the prunable weights by ``vectors``, without forming it.

        Args:
            vectors: One tensor for every prunable weight, of its shape.
            at: As in `gradients`.
            num_batches: As in `gradients`.
            training: As in `gradients`.
            temperature: As in `gradients`.
        """

    @abstractmethod
    def synaptic_flow(self, *, at: Weights | None = None) -> Weights:
        """Differentiate the sum of outputs for an input of ones, all parameters made positive.

        As SynFlow asks (Tanaka et al. 2020, https://arxiv.org/abs/2006.05467): every entry of the
        state dict is replaced by its absolute value, in evaluation mode and in double precision,
        since the sum grows exponentially with depth. The score of a weight is its own absolute
        value times its entry here.

        Args:
            at: As in `gradients`; absolute values of these are taken too.
        """


def no_gradients() -> Weights:
    """Refuse them where nobody has kept them from masking.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        "this view has no gradients: a method that reads them says so in needs_gradients"
    )


def _no_probe() -> AbstractNetworkProbe:
    raise ValueError("this view has no network to probe")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SparseView:
    """What a sparse method is handed when it is asked for masks.

    Attributes:
        step: Optimizer steps completed, counted from the start of the schedule: the masks that are
            asked for hold after it. An update that replaces the step counts as one.
        weights: The prunable parameters, on their device; not to be changed. Of a method that
            reparameterises, the trained weights.
        masks: Those in force, by the same names; everything is kept before the initial masks.
        gradients: Called, gives the loss's gradients of ``weights`` as they were before masking,
            over the whole global batch: the mean over ranks and over the batches that the step
            accumulates, not clipped, without weight decay. They belong to the weights before the
            step. Only where the method's ``needs_gradients`` said so.
        probe: Called, gives the network on fixed batches.
        state: The method's own, empty at first: a method reads it and writes into it. It travels in
            the checkpoint: tensors, which a resumed run finds on the device of the weights, and
            plain values.
        seed: The run's seed.

    Example:
        >>> weights = {"a": torch.zeros(2)}
        >>> view = SparseView(step=100, weights=weights, masks=full_masks(weights), seed=1)
        >>> again = SparseView(step=100, weights=weights, masks=full_masks(weights), seed=1)
        >>> torch.equal(*(torch.rand(3, generator=each.generator) for each in (view, again)))
        True
    """

    step: int
    weights: Weights
    masks: Masks
    gradients: Callable[[], Weights] = no_gradients
    probe: Callable[[], AbstractNetworkProbe] = _no_probe
    state: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def generator(self) -> torch.Generator:
        """The ``mask`` stream at this step: a function of seed and step, on the CPU.

        Draws go on from each other. Drawn on the CPU and moved, they are the same numbers on every
        device and rank.
        """
        return stream_generator(self.seed, "mask", self.step)

    @classmethod
    def at_start(cls, weights: Weights, *, step: int = 0, **others: Any) -> "SparseView":
        """Return what the initial masks are asked with: nothing is masked yet."""
        return cls(step=step, weights=weights, masks=full_masks(weights), **others)
