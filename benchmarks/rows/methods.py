"""What sparse methods add to the training of ResNet-50, on the CPU and on a GPU.

Of those that change masks as they train, the mean over a period of 100 steps; of those that choose
masks before training, what that costs in steps. No peer: the dense step is the unit.
"""

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
    # A round of these takes as long as thirty steps.
    yield _before_training(scale, scale.choose((16, 64), (2, 16)))


def _while_training(scale: Scale, size: tuple[int, int]) -> Trial:
    batch = random_batch(*size, scale)
    works = {
        "dense": ("the step without masks", plain_step(resnet50(scale), batch)),
        "masked": ("the step with masks that stay", masked_step(scale, batch)),
        **{
            name: ("the step after which masks change", _changing_step(method, scale, batch))
            for name, (method, _) in _WHILE_TRAINING.items()
        },
    }
    return Trial(
        name=f"masks that change every {_EVERY} steps, ResNet-50, {size[0]} x {size[1]} px",
        sides=_sides(works, scale),
        claims=[
            Claim(
                statement=f"{name} / dense, mean of {_EVERY} steps",
                quantity=Amortised(usual="masked", rare=name, every=_EVERY, theirs="dense"),
                bar=bar,
            )
            for name, (_, bar) in _WHILE_TRAINING.items()
        ],
        seconds=70,
    )


def _changing_step(
    method: AbstractSparseMethod, scale: Scale, batch: Batch
) -> Callable[[], object]:
    """Return the step and the change of masks as `SparsityCallback` makes them."""
    network = resnet50(scale)
    optimizer, weights = optimizer_of(network), prunable_weights(network)
    masks = masks_of(network)
    application = MaskApplication(weights, masks)
    application.mask_all_(optimizer)
    gradients: dict[str, torch.Tensor] = {}

    def keep_and_mask() -> None:
        if method.needs_gradients(_EVERY):
            for name, weight in weights.items():
                assert weight.grad is not None
                gradients[name] = weight.grad.detach().clone()
        application.mask_gradients_()

    step = plain_step(network, batch, keep_and_mask, optimizer)

    def change() -> None:
        step()
        # From the same masks each time, so that each change is the same work.
        view = SparseView(step=_EVERY, weights=weights, masks=masks, gradients=lambda: gradients)
        changed = method.updated_masks(view)
        grown = {name: mask & ~masks[name] for name, mask in changed.items()}
        reset_state_(optimizer, weights, grown)
        MaskApplication(weights, changed).mask_all_(optimizer)

    return change


def _before_training(scale: Scale, size: tuple[int, int]) -> Trial:
    batch = random_batch(*size, scale)
    view = _probing(scale, batch)
    rounds = scale.choose(100, 2)
    methods: dict[str, tuple[AbstractSparseMethod, float]] = {
        "SNIP": (SNIP(sparsity=SPARSITY), 5),
        "GraSP": (GraSP(sparsity=SPARSITY), 20),
        "SynFlow": (SynFlow(sparsity=SPARSITY, num_rounds=rounds), 15),
    }
    works = {"step": ("the step without masks", plain_step(resnet50(scale), batch))}
    for name, (method, _) in methods.items():
        works[name] = ("its masks, at the start", _asking(method, view))
    return Trial(
        name=f"masks before training, ResNet-50, {size[0]} x {size[1]} px",
        sides=_sides(works, scale),
        claims=[
            Claim(statement=f"{name} / step", quantity=Ratio(name, "step"), bar=bar)
            for name, (_, bar) in methods.items()
        ],
        seconds=70,
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
