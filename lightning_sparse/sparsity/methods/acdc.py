"""AC/DC: prune to the full sparsity, free everything, and so on in turns, sparse at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_end, check_sparsity
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.masks import Masks, full_masks
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.ranking import best_masks
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView


@final
@dataclass(frozen=True, kw_only=True)
class ACDC(AbstractSparseMethod):
    """Alternate compressed and decompressed training, with magnitude pruning in one shot.

    Peste et al. 2021 (https://arxiv.org/abs/2106.12379); ImageNet, of 100 epochs: pruned after 10,
    20, ..., 70 and 85, freed after 15, 25, ..., 65 and 75. What is freed begins at zero, and its
    momentum too. Deviation: the authors' scripts then zero all momentum. A dense phase costs 3
    dense forward passes a step, a sparse one 3 f_S: that recipe (1 + f_S) / 2 of dense training.

    Attributes:
        sparsity: Of sparse phases, a fraction in [0, 1).
        distribution: Shares it out over the layers; None: all layers are ranked together.
        prune_at: Shares of training after which the masks are chosen, in (0, 1].
        free_at: Shares after which everything is kept again: one between each two of the others.
        num_steps: Optimizer steps of training; a share is rounded to the nearest of them.
    """

    sparsity: float
    distribution: AbstractDistribution | None = None
    prune_at: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85)
    free_at: Sequence[float] = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75)
    num_steps: int

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        check_count("num_steps", self.num_steps, minimum=1)
        changes = self._changes()
        in_turns = [prunes for _, prunes in changes] == [True, False] * len(self.free_at) + [True]
        steps = [0, *(step for step, _ in changes)]
        if not in_turns or len(set(steps)) < len(steps) or steps[-1] > self.num_steps:
            raise UserError(
                f"prune_at={list(self.prune_at)}, free_at={list(self.free_at)}: must be shares of "
                f"{self.num_steps} steps in turns, from prune_at to prune_at, none on another's"
            )

    def initial_masks(self, view: SparseView) -> Masks:
        """Keep everything."""
        return full_masks(view.weights)

    def is_due(self, step: int) -> bool:
        """At the ends of phases."""
        return step in dict(self._changes())

    def updated_masks(self, view: SparseView) -> Masks:
        """Keep the largest weights, or everything."""
        if not dict(self._changes())[view.step]:
            return full_masks(view.weights)
        scores = {name: magnitude(weight) for name, weight in view.weights.items()}
        return best_masks(scores, self.sparsity, self.distribution)

    def target_sparsity(self, step: int) -> float:
        """``sparsity`` in sparse phases, else 0."""
        return [0.0, *(p * self.sparsity for c, p in self._changes() if c <= step)][-1]

    def check_length(self, num_steps: int) -> None:
        """Refuse a run that ends before the last pruning, and dense."""
        check_end(self._changes()[-1][0], num_steps)

    def _changes(self) -> list[tuple[int, bool]]:
        """List steps, and whether they prune."""
        shares = [*((share, True) for share in self.prune_at), *((x, False) for x in self.free_at)]
        return [(round(share * self.num_steps), prunes) for share, prunes in sorted(shares)]
