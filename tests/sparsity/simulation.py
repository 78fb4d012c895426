"""Training in small, without a Trainer: noise for gradients, and what a method makes of it."""

from dataclasses import dataclass

import torch

from lightning_sparse.sparsity.masks import apply_masks_
from lightning_sparse.sparsity.view import SparseView

SHAPES = {"conv1": (8, 3, 3, 3), "conv2": (16, 8, 3, 3), "fc": (10, 16)}


@dataclass
class Change:
    """What a method was asked with at a step, and what it answered."""

    step: int
    weights: dict
    gradients: dict
    before: dict
    after: dict
    state: dict


def copied(tensors):
    return {name: tensor.clone() for name, tensor in tensors.items()}


def random_weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def simulate(method, num_steps, *, seed=0, **view):
    """Yield a `Change` for the start, which is step 0, and for every step after it.

    As the callback does it: weights move inside the masks, unless the change takes the step's
    place, and are zero outside of them.
    """
    weights, generator = random_weights(seed), torch.Generator().manual_seed(seed + 1)
    common = {"state": {}, "seed": seed, **view}
    masks = method.initial_masks(SparseView.at_start(weights, **common))
    apply_masks_(weights, masks)
    yield Change(0, copied(weights), {}, {}, masks, common["state"])
    for step in range(1, num_steps + 1):
        gradients = {n: torch.randn(w.shape, generator=generator) for n, w in weights.items()}
        before, due = masks, method.is_due(step)
        if not (due and method.replaces_update):
            for name, weight in weights.items():
                weight.sub_(0.1 * masks[name] * gradients[name])
        asked = copied(weights)
        if due:
            known = {"gradients": lambda g=gradients: g} if method.needs_gradients(step) else {}
            masks = method.updated_masks(
                SparseView(step=step, weights=weights, masks=masks, **common, **known)
            )
            apply_masks_(weights, masks)
        yield Change(step, asked, gradients, before, masks, common["state"])


def flat(tensor):
    return tensor.flatten().tolist()


def same_masks(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(mask, second[name]) for name, mask in first.items()
    )
