"""Methods of the literature in small, each of which needs another part of `SparseView`."""

from dataclasses import dataclass, field

import torch

from lightning_sparse.sparsity.masks import top_k_mask
from lightning_sparse.sparsity.method import AbstractSparseMethod


def scattered(view, num_kept):
    """Keep as many of each layer, anywhere."""
    return {
        name: top_k_mask(torch.rand(weight.shape, generator=view.generator), num_kept)
        for name, weight in view.weights.items()
    }


@dataclass(frozen=True)
class GrowsByGradient(AbstractSparseMethod):
    """As RigL: drops the smallest, grows where the gradient is largest, instead of a step."""

    num_kept: int = 10
    num_swapped: int = 3
    every: int = 3
    replaces_update = True
    seen: dict = field(default_factory=dict)

    def initial_masks(self, view):
        return scattered(view, self.num_kept)

    def is_due(self, step):
        return step % self.every == 0

    def needs_gradients(self, step):
        return self.is_due(step)

    def updated_masks(self, view):
        gradients = view.gradients()
        self.seen[view.step] = gradients
        masks = {}
        for name, weight in view.weights.items():
            scores = torch.where(view.masks[name], weight.detach().abs(), -1)
            kept = top_k_mask(scores, self.num_kept - self.num_swapped)
            growth = torch.where(kept, -1, gradients[name].abs())
            masks[name] = kept | top_k_mask(growth, self.num_swapped)
        return masks

    def target_sparsity(self, step):
        return 0.5


@dataclass(frozen=True)
class GrowsAtRandom(AbstractSparseMethod):
    """As SET, with a memory: never grows what was ever kept, and counts its updates."""

    num_kept: int = 6
    num_swapped: int = 1
    seen: dict = field(default_factory=dict)

    def initial_masks(self, view):
        masks = scattered(view, self.num_kept)
        view.state["ever"] = {name: mask.clone() for name, mask in masks.items()}
        view.state["updates"] = 0
        return masks

    def is_due(self, step):
        return step % 2 == 0

    def updated_masks(self, view):
        view.state["updates"] += 1
        before = {name: mask.clone() for name, mask in view.state["ever"].items()}
        masks = {}
        for name, weight in view.weights.items():
            scores = torch.where(view.masks[name], weight.detach().abs(), -1)
            kept = top_k_mask(scores, self.num_kept - self.num_swapped)
            draws = torch.rand(weight.shape, generator=view.generator)
            draws = torch.where(view.state["ever"][name], -1, draws)
            masks[name] = kept | top_k_mask(draws, self.num_swapped)
            view.state["ever"][name] |= masks[name]
        self.seen[view.step] = (before, dict(view.masks), masks)
        return masks

    def target_sparsity(self, step):
        return 0.5


@dataclass(frozen=True)
class AsksAtStart(AbstractSparseMethod):
    """As SNIP: one look at the loss before the first step; keeps what else it asks for."""

    num_kept: int = 10
    num_batches: int = 2
    seen: dict = field(default_factory=dict)

    def initial_masks(self, view):
        probe = view.probe()
        ones = {name: torch.ones_like(weight) for name, weight in view.weights.items()}
        gradients = probe.gradients(num_batches=self.num_batches)
        self.seen["gradients"] = gradients
        self.seen["evaluated"] = probe.gradients(training=False)
        self.seen["elsewhere"] = probe.gradients(at=ones)
        self.seen["product"] = probe.hessian_times(ones, num_batches=self.num_batches)
        self.seen["flow"] = probe.synaptic_flow()
        return {
            name: top_k_mask((weight * gradients[name]).detach().abs(), self.num_kept)
            for name, weight in view.weights.items()
        }

    def is_due(self, step):
        return False

    def updated_masks(self, view):
        return view.masks

    def target_sparsity(self, step):
        return 0.5
