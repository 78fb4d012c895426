"""SET: remove the smallest weights of each layer, and grow as many others at random."""

from dataclasses import dataclass, field
from typing import final

from lightning_sparse.sparsity.growth import AbstractGrowth, AtRandom
from lightning_sparse.sparsity.regrowth import AbstractRegrowth


@final
@dataclass(frozen=True, kw_only=True)
class SET(AbstractRegrowth):
    """Sparse evolutionary training: random masks at the start, random growth after due steps.

    Mocanu et al. 2018 (https://doi.org/10.1038/s41467-018-04316-3) as it stands in the code of
    Evci et al. 2020: removal by magnitude, where the original takes shares of positive and of
    negative weights apart, draws new weights afresh and loses all momentum once an epoch. New
    weights and their momentum are zero; a weight that is grown back at once keeps both. ITOP is
    this method with the schedule that `SwapSchedule` names. Training costs 3 f_S of a dense
    forward pass.
    """

    growth: AbstractGrowth = field(default_factory=AtRandom, init=False)
