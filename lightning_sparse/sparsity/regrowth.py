"""Removing weights of a layer and growing as many others: when, how many, and which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
from torch import Tensor

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_sparsity, check_window
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.growth import AbstractGrowth
from lightning_sparse.sparsity.masks import Masks, layer_counts, layerwise_masks, num_kept, union
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.ranking import inside, random_masks
from lightning_sparse.sparsity.schedules import cosine_decay
from lightning_sparse.sparsity.scores import magnitude
from lightning_sparse.sparsity.view import SparseView

Regrow = Literal["allowed", "forbidden"]

_EVER_KEPT = "ever_kept"


@final
@dataclass(frozen=True, kw_only=True)
class SwapSchedule:
    """When masks change, and which share of a layer's kept weights is removed and grown then.

    The share falls along a cosine from ``drop_fraction`` at ``start_step`` to
    ``final_drop_fraction`` at ``end_step``. Evci et al. 2020 (https://arxiv.org/abs/1911.11134):
    0.3, every 100 steps of batches of 4,096, to three quarters of training. ITOP (Liu et al. 2021,
    https://arxiv.org/abs/2102.02887): 0.5 to 0.005, to the end of training, rounded up, with long
    periods (batches of 128: 1,500 steps for random growth, 4,000 by gradients).

    Deviation from the published code of RigL: the cosine is counted from ``start_step``, as in the
    paper, where the code counts from 0; both are the same for a start at 0.

    Attributes:
        start_step: Optimizer steps made before the first change.
        end_step: Optimizer steps after which nothing changes any more.
        update_every: Optimizer steps between two changes.
        drop_fraction: Share at the start, a fraction in [0, 1).
        final_drop_fraction: Share at the end, likewise.
        rounding: Of the number that the share comes to: ``down`` truncates in single precision, as
            RigL's code does; ``up``, as ITOP's.

    Example:
        >>> swaps = SwapSchedule(end_step=25_000, update_every=100)
        >>> [swaps.num_swapped(1000, step) for step in (0, 100, 12_500, 24_900)]
        [300, 299, 150, 0]
    """

    start_step: int = 0
    end_step: int
    update_every: int
    drop_fraction: float = 0.3
    final_drop_fraction: float = 0.0
    rounding: Literal["down", "up"] = "down"

    def __post_init__(self) -> None:
        """Check the fields."""
        check_count("update_every", self.update_every, minimum=1)
        check_sparsity("drop_fraction", self.drop_fraction)
        check_sparsity("final_drop_fraction", self.final_drop_fraction)
        check_window(self.start_step, self.end_step)

    @property
    def last_change(self) -> int:
        """Step after which the last change comes, if changes come after steps."""
        return self.end_step - (self.end_step - self.start_step) % self.update_every

    def made_before(self, step: int, *, replaces_update: bool) -> int | None:
        """Count the optimizer's own steps before the change that is due at ``step``, if one is.

        A change after the optimizer's step counts that step too. One that takes its place is itself
        a step of the run and none of the optimizer's, so a period takes one step more than
        ``update_every``, and the first change is the very first step if ``start_step`` is 0.

        Example:
            >>> swaps = SwapSchedule(end_step=200, update_every=100)
            >>> [swaps.made_before(step, replaces_update=True) for step in (1, 102, 203, 304, 2)]
            [0, 100, 200, None, None]
            >>> [swaps.made_before(step, replaces_update=False) for step in (100, 200, 300, 101)]
            [100, 200, None, None]
        """
        period = self.update_every + replaces_update
        number, rest = divmod(step - replaces_update - self.start_step, period)
        made = self.start_step + number * self.update_every
        return made if rest == 0 and self.start_step <= made <= self.end_step else None

    def num_swapped(self, num_kept_now: int, made: int) -> int:
        """Count what a layer that keeps ``num_kept_now`` weights removes, and grows again."""
        share = cosine_decay(
            made - self.start_step,
            num_steps=self.end_step - self.start_step,
            initial=self.drop_fraction,
            final=self.final_drop_fraction,
        )
        if self.rounding == "up":
            return num_kept(num_kept_now, 1 - share)
        return int(np.float32(num_kept_now) * np.float32(share))

    def check_length(self, num_steps: int, *, replaces_update: bool) -> None:
        """Refuse a run in which nothing would ever change.

        Raises:
            UserError: Naming the period.
        """
        first = self.start_step + 1
        last = first + self.update_every
        steps = range(first, min(last, num_steps) + 1)
        if all(self.made_before(step, replaces_update=replaces_update) is None for step in steps):
            raise UserError(
                f"update_every={self.update_every}: no change of masks falls into steps "
                f"{self.start_step} to {min(self.end_step, num_steps)} of this run; lower it"
            )


def swaps_until(share: float, *, num_steps: int, update_every: int) -> SwapSchedule:
    """Return RigL's schedule from the first step to a share of training.

    Example:
        >>> swaps_until(0.75, num_steps=5000, update_every=50).end_step
        3750
    """
    return SwapSchedule(end_step=round(share * num_steps), update_every=update_every)


@dataclass(frozen=True, kw_only=True)
class AbstractRegrowth(AbstractSparseMethod):
    """Random masks at the start; at due steps weights of each layer go, and as many others grow.

    Whether a change takes the place of the optimizer's step says ``replaces_update``.

    Attributes:
        sparsity: Overall, a fraction in [0, 1); every layer's count stays what it is at the start.
        distribution: Shares it out over the layers.
        swaps: When, and how many.
        growth: Where weights grow.
        regrow: Whether a weight may be removed and grown by the same change; if not, layers without
            empty places stay as they are.
    """

    sparsity: float
    distribution: AbstractDistribution
    swaps: SwapSchedule
    growth: AbstractGrowth
    regrow: Regrow = "allowed"

    def __post_init__(self) -> None:
        """Check the fields."""
        check_sparsity("sparsity", self.sparsity)
        if self.replaces_update and self.growth.watches:
            raise UserError(
                f"growth={type(self.growth).__name__}: looks at every step, none of which would be "
                "the optimizer's; set replaces_update=false"
            )

    @final
    def initial_masks(self, view: SparseView) -> Masks:
        """Draw them, with exact counts.

        Raises:
            UserError: If there is no place to grow.
        """
        masks = random_masks(
            view.weights,
            view.generator,
            sparsity=self.target_sparsity(0),
            distribution=self.distribution,
        )
        if self.regrow == "forbidden":
            check_places(masks, self._numbers(masks, self.swaps.start_step))
        return remember_kept(view, masks)

    @final
    def is_due(self, step: int) -> bool:
        """Every so many steps of the schedule, both ends included, or all if growth watches."""
        watched = self.growth.watches and step <= self.swaps.last_change
        return watched or self._made_before(step) is not None

    @final
    def needs_gradients(self, step: int) -> bool:
        """At changes, or at all steps that growth watches, if it reads them."""
        return self.growth.needs_gradients and self.is_due(step)

    @final
    def updated_masks(self, view: SparseView) -> Masks:
        """Remove and grow, if that is due."""
        self.growth.watch(view)
        made = self._made_before(view.step)
        if made is None:
            return view.masks
        view = replace(view, masks=self.pruned(view))
        removed = self.num_removed(view, made)
        grown = self.num_grown(view, removed)
        scores = self.growth.scores(view)
        return remember_kept(
            view, swapped_masks(view, removed, scores, regrow=self.regrow, num_grown=grown)
        )

    def pruned(self, view: SparseView) -> Masks:
        """Give the masks whose weights are then removed and grown: by default those in force."""
        return view.masks

    def num_removed(self, view: SparseView, made: int) -> dict[str, int]:
        """Count what each layer removes.

        Args:
            view: What it is removed from.
            made: Optimizer steps made before.
        """
        layers = layer_counts(view.masks)
        numbers = self._numbers(view.masks, made)
        if self.regrow == "allowed":
            return numbers
        return {n: 0 if layers[n].kept == layers[n].prunable else k for n, k in numbers.items()}

    def num_grown(self, view: SparseView, removed: Mapping[str, int]) -> Mapping[str, int]:
        """Count what each layer grows, together as many as are removed: by default as it loses."""
        return removed

    def target_sparsity(self, step: int) -> float:
        """The same all along."""
        return self.sparsity

    def check_length(self, num_steps: int) -> None:
        """Refuse a period that is longer than the run."""
        self.swaps.check_length(num_steps, replaces_update=self.replaces_update)

    @final
    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Report the share of weights that was ever kept."""
        return share_ever_kept(state)

    def _made_before(self, step: int) -> int | None:
        return self.swaps.made_before(step, replaces_update=self.replaces_update)

    def _numbers(self, masks: Masks, made: int) -> dict[str, int]:
        layers = layer_counts(masks)
        return {name: self.swaps.num_swapped(layer.kept, made) for name, layer in layers.items()}


def swapped_masks(
    view: SparseView,
    num_swapped: Mapping[str, int],
    growth: Iterable[tuple[str, Tensor]],
    *,
    regrow: Regrow = "allowed",
    num_grown: Mapping[str, int],
) -> Masks:
    """Remove the smallest weights of each layer, and grow where the scores are highest.

    Ties by position, as in `top_k_mask`, where RigL's code adds noise of 1e-5 to the magnitudes.

    Args:
        view: Weights and masks.
        num_swapped: How many of each layer go.
        growth: Name and growth scores of each layer, in the order of ``view.weights``.
        regrow: Whether a weight that goes may be grown at once, which leaves it as it was: value,
            momentum and all.
        num_grown: How many of each layer are grown.
    """
    layers = layer_counts(view.masks)
    counts = {name: layer.kept - num_swapped[name] for name, layer in layers.items()}
    magnitudes = (
        (name, inside(magnitude(weight), view.masks[name])) for name, weight in view.weights.items()
    )
    kept = layerwise_masks(magnitudes, counts)
    taken = kept if regrow == "allowed" else view.masks
    free = ((name, inside(scores, ~taken[name])) for name, scores in growth)
    return union(kept, layerwise_masks(free, num_grown))


def check_places(masks: Masks, num_swapped: Mapping[str, int]) -> None:
    """Refuse layers that have fewer empty places than are to be grown outside what was kept.

    Layers without any are left alone by whoever asks.

    Raises:
        UserError: Naming the first such layer.
    """
    for name, layer in layer_counts(masks).items():
        empty = layer.prunable - layer.kept
        if 0 < empty < num_swapped[name]:
            raise UserError(
                f"regrow=forbidden: {name!r} has {empty} empty places for {num_swapped[name]} "
                "weights to grow; lower drop_fraction, raise sparsity, or allow regrowth"
            )


def remember_kept(view: SparseView, masks: Masks) -> Masks:
    """Add ``masks`` to what was ever kept, in the method's state; give them back.

    The share of weights that training has visited is what ITOP explains accuracy by.
    """
    ever = view.state.get(_EVER_KEPT)
    view.state[_EVER_KEPT] = dict(union(ever, masks)) if ever else dict(masks)
    return masks


def share_ever_kept(state: Mapping[str, object]) -> dict[str, float]:
    """Say which share of the prunable weights was ever kept, if anybody has remembered it.

    Example:
        >>> import torch
        >>> share_ever_kept({"ever_kept": {"a": torch.tensor([True, False])}})
        {'share_ever_kept': 0.5}
        >>> share_ever_kept({})
        {}
    """
    ever = state.get(_EVER_KEPT)
    if not isinstance(ever, Mapping):
        return {}
    layers = layer_counts(ever).values()
    kept, prunable = (sum(c) for c in zip(*((x.kept, x.prunable) for x in layers), strict=True))
    return {"share_ever_kept": kept / prunable}
