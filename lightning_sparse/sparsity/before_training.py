"""Masks that are chosen before the first step, and the controls of what chose them."""

from collections.abc import Callable
from typing import Literal

from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.ranking import shuffled
from lightning_sparse.sparsity.view import SparseView

Control = Literal["none", "shuffled", "reinitialised"]
"""How masks are taken apart from what chose them (Frankle et al. 2021,
https://arxiv.org/abs/2009.08576): ``shuffled`` permutes each layer's mask, so that only its count
is left; ``reinitialised`` chooses for other weights than those that are trained."""


def chosen_masks(
    view: SparseView, choose: Callable[[Weights], Masks], *, control: Control
) -> Masks:
    """Choose masks for the weights at the start, or as a control says.

    For other weights those of the start are permuted within each layer, which is a start drawn
    anew wherever a layer's weights are drawn independently and alike.

    Args:
        view: The weights, and the generator of whatever is permuted.
        choose: Gives the masks for the weights that it is handed.
        control: Which, or none.
    """
    if control == "reinitialised":
        return choose(shuffled(view.weights, view.generator))
    masks = choose(view.weights)
    return shuffled(masks, view.generator) if control == "shuffled" else masks
