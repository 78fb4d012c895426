"""What sparse methods add to the training of ResNet-50, on the CPU and on a GPU.

Of those that change masks as they train, the change of masks itself, shared out over the 100 steps
between two, and with the masked step the mean of such a period: the first is resolved on a machine
on which the second is not. Of those that choose masks before training, what that costs in steps of
a batch of 32 images of ImageNet's size, the smallest that anybody trains ResNet-50 with: SynFlow
ranks all weights and passes one image a hundred times, however small a step is. No peer: the dense
step is the unit.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

import torch

from benchmarks.pairing import Amortised, Claim, Ratio, Side, Trial
from benchmarks.workloads import (
    SPARSITY,
    Batch,
    Scale,
    masked_step,
    masks_of,
    optimizer_of,
    plain_step,
    random_batch,
    resnet50,
    settings,
    timed,
    use_cores,
)
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.application import MaskApplication, reset_state_
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from lightning_sparse.sparsity.methods.grasp import GraSP
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.methods.set import SET
from lightning_sparse.sparsity.methods.snip import SNIP
from lightning_sparse.sparsity.methods.synflow import SynFlow
from lightning_sparse.sparsity.regrowth import SwapSchedule
from lightning_sparse.sparsity.view import SparseView
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.network_probe import NetworkProbe
from lightning_sparse.training.trainer import quiet_trainer

_EVERY = 100
_ROUNDS = 10  # of SynFlow's that are measured
_MOST_OF_A_CHANGE = 0.01  # what of the dense step it may cost, shared out over the period
_SWAPS = SwapSchedule(end_step=1000, update_every=_EVERY)
_ERK = ErdosRenyiKernel()
_WHILE_TRAINING: dict[str, tuple[AbstractSparseMethod, float]] = {
    "RigL": (RigL(sparsity=SPARSITY, distribution=_ERK, swaps=_SWAPS), 1.02),
    "SET": (SET(sparsity=SPARSITY, distribution=_ERK, swaps=_SWAPS), 1.01),
    "gradual pruning": (
        GradualMagnitude(
            sparsity=SPARSITY,
            start_step=0,
            end_step=1000,
            update_every=_EVERY,
            distribution=Uniform(),
        ),
        1.01,
    ),
}


def trials(scale: Scale) -> Iterator[Trial]:
    """Those that change masks, then those that choose them once."""
    use_cores()
    yield _while_training(scale, scale.choose((32, 128), (2, 16)))
    yield _before_training(scale, scale.choose((32, 224), (2, 16)))


def _while_training(scale: Scale, size: tuple[int, int]) -> Trial:
    batch = random_batch(*size, scale)
    works = {
        "dense": ("the step without masks", plain_step(resnet50(scale), batch)),
        "masked": ("the step with masks that stay", masked_step(scale, batch)),
        **{
            name: ("its change of masks, beside the step", _change(method, scale, batch))
            for name, (method, _) in _WHILE_TRAINING.items()
        },
    }
    return Trial(
        name=f"masks that change every {_EVERY} steps, ResNet-50, {size[0]} x {size[1]} px",
        sides=_sides(works, scale),
        claims=[
            claim
            for name, (_, bar) in _WHILE_TRAINING.items()
            for claim in (
                Claim(
                    statement=f"{name}: change of masks / {_EVERY} / dense",
                    quantity=Ratio(name, "dense", times=1 / _EVERY),
                    bar=_MOST_OF_A_CHANGE,
                ),
                Claim(
                    statement=f"{name} / dense, mean of {_EVERY} steps",
                    quantity=Amortised(usual="masked", rare=name, every=_EVERY, theirs="dense"),
                    bar=bar,
                ),
            )
        ],
        seconds=150,
    )


def _change(method: AbstractSparseMethod, scale: Scale, batch: Batch) -> Callable[[], object]:
    """Return what `SparsityCallback` does at a change of masks, and at no other step."""
    network = resnet50(scale)
    optimizer, weights = optimizer_of(network), prunable_weights(network)
    masks = masks_of(network)
    MaskApplication(weights, masks).mask_all_(optimizer)
    plain_step(network, batch, optimizer=optimizer)()
    # RigL's changes are steps of their own, so that those of other methods are due earlier.
    due = next(step for step in itertools.count(_EVERY) if method.is_due(step))
    reads_gradients = method.needs_gradients(due)

    def gradients() -> dict[str, torch.Tensor]:
        return {n: w.grad.detach().clone() for n, w in weights.items() if w.grad is not None}

    def change() -> None:
        kept = gradients() if reads_gradients else {}
        # From the same masks each time, so that each change is the same work.
        view = SparseView(step=due, weights=weights, masks=masks, gradients=lambda: kept)
        changed = method.updated_masks(view)
        assert changed is not masks
        grown = {name: mask & ~masks[name] for name, mask in changed.items()}
        reset_state_(optimizer, weights, grown)
        MaskApplication(weights, changed).mask_all_(optimizer)

    return change


def _before_training(scale: Scale, size: tuple[int, int]) -> Trial:
    batch = random_batch(*size, scale)
    view = _probing(scale, batch)
    rounds = scale.choose(_ROUNDS, 2)
    methods: dict[str, tuple[str, AbstractSparseMethod, float, float]] = {
        "SNIP": ("its masks, at the start", SNIP(sparsity=SPARSITY), 1, 5),
        "GraSP": ("its masks, at the start", GraSP(sparsity=SPARSITY), 1, 20),
        # One round costs what another does.
        "SynFlow": (
            f"its masks by {rounds} rounds",
            SynFlow(sparsity=SPARSITY, num_rounds=rounds),
            100 / rounds,
            15,
        ),
    }
    works = {"step": ("the step without masks", plain_step(resnet50(scale), batch))}
    for name, (what, method, _, _) in methods.items():
        works[name] = (what, _asking(method, view))
    return Trial(
        name=f"masks before training, ResNet-50, {size[0]} x {size[1]} px",
        sides=_sides(works, scale),
        claims=[
            Claim(
                statement=f"{name} / step" + (" (100 rounds)" if times > 1 else ""),
                quantity=Ratio(name, "step", times=times),
                bar=bar,
            )
            for name, (_, _, times, bar) in methods.items()
        ],
        seconds=150,
    )


def _sides(works: Mapping[str, tuple[str, Callable[[], object]]], scale: Scale) -> dict[str, Side]:
    return {
        name: Side(what=what, measure=timed(work, scale=scale))
        for name, (what, work) in works.items()
    }


def _probing(scale: Scale, batch: Batch) -> SparseView:
    """Return the view of a method that may probe the network on the batch."""
    module = ClassifierModule(resnet50(scale), settings())
    trainer = quiet_trainer(1, [], {"accelerator": scale.device.type, "devices": 1})
    probe = NetworkProbe(trainer, module, "network", seed=1, batches=lambda: [batch])
    return SparseView.at_start(prunable_weights(module.network), probe=lambda: probe)


def _asking(method: AbstractSparseMethod, view: SparseView) -> Callable[[], object]:
    return lambda: method.initial_masks(view)
