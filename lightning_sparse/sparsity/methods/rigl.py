"""RigL: remove the smallest weights of each layer, grow where the dense gradient is largest."""

from dataclasses import dataclass, field
from typing import final

from lightning_sparse.sparsity.growth import AbstractGrowth, LargestGradient
from lightning_sparse.sparsity.regrowth import AbstractRegrowth


@final
@dataclass(frozen=True, kw_only=True)
class RigL(AbstractRegrowth):
    """Random masks at the start; a due change takes the place of the optimizer's step.

    Evci et al. 2020 (https://arxiv.org/abs/1911.11134), as in their code: the first change is the
    first step, ``swaps.update_every`` optimizer steps lie between two, new weights and their
    momentum are zero, and a weight that is grown back at once keeps both. Deviation: a change
    counts as a step of the run, of which fewer are then the optimizer's. ITOP (see `SwapSchedule`)
    has ``replaces_update`` false. A change costs 2 f_S + 1 dense forward passes, a step 3 f_S.

    Attributes:
        growth: Where weights grow; `SmallestGradient` is the control.
        replaces_update: Whether a change takes the place of the optimizer's step, or comes after
            it and reads that step's gradient.
    """

    growth: AbstractGrowth = field(default_factory=LargestGradient)
    replaces_update: bool = True
