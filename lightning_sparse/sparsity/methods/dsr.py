"""DSR: one threshold for all layers says what goes, and layers that lose less get more of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.apportionment import apportioned
from lightning_sparse.sparsity.checks import check_sparsity
from lightning_sparse.sparsity.growth import AbstractGrowth, AtRandom
from lightning_sparse.sparsity.masks import layer_counts
from lightning_sparse.sparsity.regrowth import AbstractRegrowth, Regrow
from lightning_sparse.sparsity.view import SparseView

_THRESHOLD = "threshold"


@final
@dataclass(frozen=True, kw_only=True)
class DSR(AbstractRegrowth):
    """Dynamic sparse reparameterization: remove by a global threshold, share out by what is left.

    Mostafa & Wang 2019 (https://arxiv.org/abs/1902.05967). At a change every weight smaller than
    the threshold goes. If fewer went than the number aimed at, by more than the tolerance, the
    threshold is doubled for the next change; if more, halved. As many as all layers lost grow at
    random, in each in proportion to what it has left; they and their momentum are zero. The number
    aimed at is what ``swaps`` says of all kept weights; to be the same all along, as theirs,
    ``final_drop_fraction`` is ``drop_fraction``. Deviations from the authors' code: numbers are
    whole and add up, so the total stays; what a full layer cannot take goes to the others; the
    period does not double as training goes on. Costs 3 f_S of a dense forward pass.

    Attributes:
        threshold: That of the first change, above 0.
        tolerance: Share of the number aimed at by which it may be missed, a fraction in [0, 1).
        growth: Anywhere.
        regrow: Always allowed: what grows is drawn from all places that are empty by then.
    """

    threshold: float = 1e-3
    tolerance: float = 0.1
    growth: AbstractGrowth = field(default_factory=AtRandom, init=False)
    regrow: Regrow = field(default="allowed", init=False)

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        check_sparsity("tolerance", self.tolerance)
        if not self.threshold > 0:
            raise UserError(f"threshold={self.threshold!r}: must be a number above 0")

    def num_removed(self, view: SparseView, made: int) -> dict[str, int]:
        """Count what is below the threshold, and choose that of the next change."""
        threshold = view.state.get(_THRESHOLD, self.threshold)
        numbers = {
            name: int((mask & (view.weights[name].abs() < threshold)).sum())
            for name, mask in view.masks.items()
        }
        kept = sum(layer.kept for layer in layer_counts(view.masks).values())
        aim, number = self.swaps.num_swapped(kept, made), sum(numbers.values())
        if number < aim * (1 - self.tolerance):
            threshold *= 2
        elif number > aim * (1 + self.tolerance):
            threshold /= 2
        view.state[_THRESHOLD] = threshold
        return numbers

    def num_grown(self, view: SparseView, removed: Mapping[str, int]) -> Mapping[str, int]:
        """Share out by what is left, as far as there is room."""
        layers = layer_counts(view.masks)
        left = {name: layer.kept - removed[name] for name, layer in layers.items()}
        room = [layer.prunable - left[name] for name, layer in layers.items()]
        grown = apportioned(sum(removed.values()), list(left.values()), room)
        return dict(zip(layers, grown, strict=True))
