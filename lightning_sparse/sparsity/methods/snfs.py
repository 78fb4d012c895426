"""SNFS: remove the smallest weights, grow where a running average of gradients is largest."""

from dataclasses import dataclass, field
from typing import final

from lightning_sparse.sparsity.growth import AveragedGradient
from lightning_sparse.sparsity.regrowth import AbstractRegrowth


@final
@dataclass(frozen=True, kw_only=True)
class SNFS(AbstractRegrowth):
    """Sparse networks from scratch, as RigL's code has it: after the step, without redistribution.

    Dettmers & Zettlemoyer 2019 (https://arxiv.org/abs/1907.04840) in the variant that Evci et al.
    2020 compare with; `SparseMomentum` is the authors' own. All else is as in SET. Every step up to
    the last change needs dense gradients, 2 f_S + 1 dense forward passes; their average is as large
    as the weights and travels in the checkpoint. Deviation: it is not kept after the last change,
    so that later steps cost 3 f_S.

    Attributes:
        growth: The average; its ``factor`` is 0.9 in RigL's code.
    """

    growth: AveragedGradient = field(default_factory=AveragedGradient)
