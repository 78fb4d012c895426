"""One look at network and data before anything is spent: what would fail later, or be wrong unseen.

Everything is done on copies, with generators of its own: no bit of a result depends on it. What
cannot give a right result is refused; what a reader should know is a remark, printed once and kept
in the record.
"""

import copy
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.loader import FixedBatches
from lightning_sparse.errors import UserError, theirs
from lightning_sparse.models.batch_norm import fresh_statistics, use_batch_statistics
from lightning_sparse.models.build import check_logits
from lightning_sparse.models.probe import ForwardProbe, operations_in_the_open
from lightning_sparse.models.prunable import prunable_weights, weights_left_dense
from lightning_sparse.streams import global_generators_of
from lightning_sparse.training.hosts import listed
from lightning_sparse.training.measurement import Batch
from lightning_sparse.training.trainer import quiet_trainer

_NUM_IMAGES = 2  # the fewest that batch norm trains on
_UNUSED_IS_FINE = ("find_unused_parameters", "static_graph")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one look at a network found, by the names of its parameters and buffers.

    Attributes:
        without_gradient: Parameters that are trained and that no gradient reaches.
        unused: Prunable weights that evaluation does not use.
        left_dense: Matrices that no mask acts on.
        projections: Weights that hold queries, keys and values, pruned as one layer.
        other_statistics: Buffers that training changes and recalibration does not.
        num_parameters: Entries of all parameters.
        sizes: Entries of each.
    """

    without_gradient: Sequence[str] = ()
    unused: Sequence[str] = ()
    left_dense: Sequence[str] = ()
    projections: Sequence[str] = ()
    other_statistics: Sequence[str] = ()
    num_parameters: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict, repr=False)

    def remarks(self) -> list[str]:
        """Return what is to be said, a sentence each."""
        said = []
        if self.projections:
            said.append(
                f"pruned as one layer, queries, keys and values: {self._some('projections')}"
            )
        if self.left_dense:
            said.append(
                f"left dense, without weight decay: {self._some('left_dense')}; only weights of "
                "convolutions, linear layers and attention are pruned"
            )
        if self.unused:
            said.append(
                f"counted as prunable, though evaluation does not use it: {self._some('unused')}"
            )
        if untrained := set(self.without_gradient) - set(self.unused):
            said.append(f"no gradient reaches {listed(sorted(untrained))}: not trained")
        if self.other_statistics:
            said.append(
                f"not recalibrated: {listed(self.other_statistics)}, which training changes "
                "and which are no statistics of torch's batch or instance norm: those of the "
                "trained network are used, on a path those of the nearer end"
            )
        return said

    def _some(self, group: str) -> str:
        names: Sequence[str] = getattr(self, group)
        count = sum(self.sizes[name] for name in names)
        return f"{listed(names)} ({count:,} of {self.num_parameters:,} parameters)"


def validate(
    network: nn.Module, data: ImageDataModule, *, is_masked: bool, recalibrates: bool = False
) -> Findings:
    """Send a few images of both sets through copies of the network, in both modes.

    Args:
        network: At its start weights. Wherever it lies, it is on the CPU afterwards, where images
            are; a Trainer moves it to its own device.
        data: Gives the images.
        is_masked: Whether masks will act on it.
        recalibrates: Whether its statistics will be computed anew, over training images.

    Raises:
        UserError: If it fails on them, does not return one logit per class, returns something that
            is no number, if masks would not act on what its layers compute with, or if its
            statistics cannot be computed anew.
    """
    network.cpu()
    batches = data.first_images(_NUM_IMAGES)
    name = type(network).__name__
    with global_generators_of(data.seed, "network"):
        with theirs(f"model {name} cannot be copied"):
            twin = copy.deepcopy(network)
        for images, _ in batches:
            _evaluate(twin, images, data.source.num_classes)
        masked_shares = _mask_half_(twin)
        probe = _probed(twin, batches[0][0][:1])
        if is_masked and (names := _not_zero(masked_shares, probe)):
            raise UserError(
                f"model {name}: masked weights are not zero in what it computes with, a function "
                f"of the weight (weight standardisation, perhaps): {listed(names)}; a sparse run "
                "would be a dense one; use layers that compute with the weight itself"
            )
        trained = copy.deepcopy(network)
        without_gradient = _train_once(trained, batches[0], data)
        changed = _changed_buffers(network, trained)
        renewed = _recalibrated(network, batches[0][0]) if recalibrates else set()
    parameters = dict(network.named_parameters())
    return Findings(
        without_gradient=without_gradient,
        unused=[weight for weight in prunable_weights(network) if weight not in probe.met],
        left_dense=list(weights_left_dense(network)),
        projections=[weight for weight in prunable_weights(network) if _is_projection(weight)],
        other_statistics=[key for key in changed if key not in renewed] if recalibrates else [],
        num_parameters=sum(parameter.numel() for parameter in parameters.values()),
        sizes={key: parameter.numel() for key, parameter in parameters.items()},
    )


@torch.no_grad()
def check_batches_of_one(
    network: nn.Module, data: ImageDataModule, statistics: Iterable[FixedBatches]
) -> None:
    """Refuse a batch of one image where its statistics are needed and cannot be taken.

    Args:
        network: At its start weights.
        data: Gives an image.
        statistics: The batches that the network normalises by their own statistics.

    Raises:
        UserError: With the settings that say how large batches are.
    """
    if all(batches.smallest != 1 for batches in statistics):
        return
    twin = copy.deepcopy(network)
    use_batch_statistics(twin)
    with theirs(
        f"model {type(twin).__name__}, given a batch of one image",
        "choose evaluation.recalibration_batch_size, or evaluation.batch_size with "
        "evaluation.batch_norm=batch, so that no batch has one image",
    ):
        twin(data.first_images(1)[0][0])


def said_of_growth(weights: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> list[str]:
    """Return what is to be said of weights that have become a hundred times as large, if any have.

    Batch norm hides it from the loss. Norms below 1 at the start count as 1.

    Args:
        weights: At the end of training, by name.
        start: Those and others at its start.
    """
    grown = [
        name
        for name, weight in weights.items()
        if float(weight.detach().norm()) > _MOST_GROWTH * max(1.0, float(start[name].norm()))
    ]
    if not grown:
        return []
    return [
        f"more than {_MOST_GROWTH} times as large as at the start: {listed(grown)}; what grows in "
        "a filter without weights has huge gradients under batch norm, which "
        "training.gradient_clip_norm=1 limits"
    ]


_MOST_GROWTH = 100


@rank_zero_only
def say(remarks: Collection[str]) -> None:
    """Print remarks, once for all ranks."""
    for remark in remarks:
        _log.warning("note: %s", remark)


def check_ranks_can_wait(findings: Findings, trainer_options: Mapping[str, Any]) -> None:
    """Refuse parameters without a gradient where ranks would wait for theirs.

    Args:
        findings: Of the network that is to be trained.
        trainer_options: `pytorch_lightning.Trainer` arguments.

    Raises:
        UserError: Naming the parameters, and what to do.
    """
    if not findings.without_gradient:
        return
    trainer = quiet_trainer(1, [], trainer_options)
    strategy = trainer.strategy
    if trainer.world_size == 1 or not isinstance(strategy, DDPStrategy):
        return
    if not any(strategy._ddp_kwargs.get(name) for name in _UNUSED_IS_FINE):  # noqa: SLF001
        raise UserError(
            f"no gradient reaches {listed(findings.without_gradient)}: DDP with unused parameters "
            "waits for them; set trainer.strategy=ddp_find_unused_parameters_true, or take them "
            "out of the model, or set their requires_grad to False"
        )


def _evaluate(network: nn.Module, images: Tensor, num_classes: int) -> None:
    network.eval()
    name = f"{type(network).__name__} in evaluation mode"
    with theirs(f"model {name}"), torch.no_grad():
        logits = network(images)
    _check_output(logits, images, num_classes, name)


def _train_once(network: nn.Module, batch: Batch, data: ImageDataModule) -> list[str]:
    """Return the names of the parameters that a step would not change."""
    images = batch[0][: data.batch_size]
    network.train()
    name = f"{type(network).__name__} in training mode"
    with theirs(f"model {name}", "choose batch_size=2 or more" if len(images) == 1 else ""):
        logits = network(images)
    _check_output(logits, images, data.source.num_classes, name)
    if not logits.requires_grad:
        raise UserError(f"model {name}: its logits have no gradient; leave out no_grad and detach")
    with theirs(f"model {name}, backward"):
        logits.float().logsumexp(dim=1).sum().backward()
    return [
        key
        for key, parameter in network.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]


def _check_output(logits: Any, images: Tensor, num_classes: int, name: str) -> None:
    check_logits(logits, len(images), num_classes, name)
    if images.isfinite().all() and not logits.isfinite().all():
        raise UserError(
            f"model {name} returns NaN or infinity for the first images, before any training; look "
            "at its start weights and its arithmetic"
        )


@torch.no_grad()
def _mask_half_(network: nn.Module) -> dict[str, float]:
    """Set half the entries of every prunable weight to zero; return the exact fractions."""
    generator = torch.Generator().manual_seed(0)
    shares = {}
    for name, weight in prunable_weights(network).items():
        weight.mul_(torch.randint(2, weight.shape, generator=generator))
        shares[name] = 1 - int(weight.count_nonzero()) / max(1, weight.numel())
    return shares


def _probed(network: nn.Module, images: Tensor) -> ForwardProbe:
    network.eval()
    probe = ForwardProbe(network)
    what = theirs(f"model {type(network).__name__} with half its weights at zero")
    with what, torch.no_grad(), operations_in_the_open(network), probe:
        network(images)
    return probe


def masks_without_effect(network: nn.Module, images: Tensor) -> list[str]:
    """Name the prunable weights that are not zero in what ``network`` computes with when masked."""
    twin = copy.deepcopy(network)
    return _not_zero(_mask_half_(twin), _probed(twin, images))


def _not_zero(masked_shares: Mapping[str, float], probe: ForwardProbe) -> list[str]:
    return [
        name for name, share in masked_shares.items() if probe.zero_share.get(name, 1.0) < share / 2
    ]


def _changed_buffers(before: nn.Module, after: nn.Module) -> list[str]:
    later = dict(after.named_buffers())
    return [
        name
        for name, buffer in before.named_buffers()
        if name in later and not torch.equal(buffer, later[name])
    ]


@torch.no_grad()
def _recalibrated(network: nn.Module, images: Tensor) -> set[str]:
    """Return the names of the statistics that a look at ``images`` computes anew."""
    twin = copy.deepcopy(network)
    own = dict(twin.named_buffers())
    fresh = fresh_statistics(twin)
    for name, buffer in fresh.items():
        own[name].copy_(buffer)
    use_batch_statistics(twin)
    with theirs(
        f"model {type(twin).__name__}: its statistics cannot be computed anew",
        "set evaluation.batch_norm=interpolated and recalibrate_batch_norm=null, or let its "
        "normalisation take momentum=None as torch's does",
    ):
        twin(images)
    return {name for name, buffer in fresh.items() if not torch.equal(own[name], buffer)}


def _is_projection(name: str) -> bool:
    return name.rpartition(".")[2] == "in_proj_weight"
