"""The network on fixed batches, for sparse methods that ask before the first step."""

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor, distributed, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from typing_extensions import override

from lightning_sparse.errors import UserError, theirs
from lightning_sparse.models.prunable import prunable_weights, scales
from lightning_sparse.sparsity.masks import Weights
from lightning_sparse.sparsity.view import AbstractNetworkProbe
from lightning_sparse.streams import global_generators_of
from lightning_sparse.training.ranks import is_shared

Batches = Callable[[], Iterable[Any]]


@final
class NetworkProbe(AbstractNetworkProbe):
    """Asks copies of a LightningModule for its training loss; the module itself is left alone.

    What its training step draws at random comes from a seeded place, and what it logs is dropped.

    Args:
        trainer: Whose fit it is; on its device and ranks.
        module: What is fitted.
        network: Name of the part whose weights are pruned; see `SparsityCallback`.
        seed: Of that place.
        batches: Gives the fixed batches of this rank; None for the first ones that the training
            loader gives if it draws from that place too.
    """

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        network: str,
        seed: int,
        batches: Batches | None = None,
    ) -> None:
        self._trainer = trainer
        self._module = module
        self._network = network
        self._seed = seed
        self._source = batches

    @override
    def gradients(
        self,
        *,
        at: Weights | None = None,
        num_batches: int = 1,
        training: bool = True,
        temperature: float = 1.0,
    ) -> Weights:
        """Differentiate the training loss."""
        twin = self._tempered(at, temperature).train(training)
        return self._mean(twin, num_batches, of_loss=_gradients)

    @override
    def hessian_times(
        self,
        vectors: Weights,
        *,
        at: Weights | None = None,
        num_batches: int = 1,
        training: bool = True,
        temperature: float = 1.0,
    ) -> Weights:
        """Differentiate the training loss twice."""

        def product(loss: Tensor, weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
            gradients = _gradients(loss, weights, create_graph=True)
            along = sum((gradients[name] * vectors[name]).sum() for name in weights)
            assert isinstance(along, Tensor)
            return _gradients(along, weights)

        twin = self._tempered(at, temperature).train(training)
        return self._mean(twin, num_batches, of_loss=product)

    @override
    def synaptic_flow(self, *, at: Weights | None = None) -> Weights:
        """Send one input of ones through a copy of the network whose parameters are positive."""
        network, ones = self._positive
        weights = prunable_weights(network)
        asked = prunable_weights(self._module.get_submodule(self._network)) if at is None else at
        with torch.no_grad():
            for name, value in asked.items():
                weights[name].copy_(value).abs_()
        with _apart(self._seed):
            outputs = tree_leaves(network(ones))
            flow = sum(item.sum() for item in outputs if isinstance(item, Tensor))
        assert isinstance(flow, Tensor)
        return _gradients(flow, weights)

    @functools.cached_property
    def _positive(self) -> tuple[nn.Module, Tensor]:
        """A copy of the network whose parameters are positive, and its input of ones.

        Kept for the many rounds of SynFlow, none of which has to copy a network and to start a
        loader again.
        """
        network = self._twin(None).get_submodule(self._network).double().eval()
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.abs_()
        with _apart(self._seed):
            first = next(iter(tree_leaves(next(self._batches(1)))))
        return network, torch.ones_like(first[:1], dtype=torch.float64)

    def _mean(
        self,
        twin: pl.LightningModule,
        num_batches: int,
        *,
        of_loss: Callable[[Tensor, Mapping[str, nn.Parameter]], dict[str, Tensor]],
    ) -> Weights:
        """Average over batches and ranks what is computed of the loss on each batch."""
        weights = prunable_weights(twin.get_submodule(self._network))
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        with _apart(self._seed):
            for batch in self._batches(num_batches):
                for name, part in of_loss(_loss(twin, batch), weights).items():
                    total[name].add_(part.detach(), alpha=1 / num_batches)
        return {name: _mean_over_ranks(tensor) for name, tensor in total.items()}

    def _twin(self, at: Weights | None) -> pl.LightningModule:
        with theirs(f"{type(self._module).__name__} cannot be copied"):
            twin = copy.deepcopy(self._module)
        twin.trainer = self._trainer
        # It is no step of the fit.
        vars(twin).update(log=_log_nothing, log_dict=_log_nothing)
        weights = prunable_weights(twin.get_submodule(self._network))
        with torch.no_grad():
            for name, value in (at or {}).items():
                weights[name].copy_(value)
            for scale in scales(twin.get_submodule(self._network)):
                if not scale.any():
                    scale.fill_(1)
        return twin

    def _tempered(self, at: Weights | None, temperature: float) -> pl.LightningModule:
        """Copy the module, with outputs of its network that are divided by ``temperature``."""
        twin = self._twin(at)
        if temperature != 1:
            twin.get_submodule(self._network).register_forward_hook(
                lambda _module, _inputs, outputs: tree_map_only(
                    Tensor, lambda tensor: tensor / temperature, outputs
                )
            )
        return twin

    def _batches(self, num_batches: int) -> Iterator[Any]:
        """Yield so many batches on the device, as the fit would get them.

        Raises:
            UserError: If there are fewer.
        """
        source: Any = self._source() if self._source else self._trainer.train_dataloader
        count = 0
        with _generators_kept(source):
            for batch in itertools.islice(iter(source), num_batches):
                count += 1
                yield self._moved(batch)
        if count < num_batches:
            raise UserError(
                f"the sparse method asks for {num_batches} batches before the first step, the "
                f"training set gives {count}; lower batch_size or what the method asks for"
            )

    def _moved(self, batch: Any) -> Any:
        converted = self._trainer.precision_plugin.convert_input(batch)
        # As before a step of the fit: what the module does to a batch is done here too.
        converted = self._module._on_before_batch_transfer(converted)  # noqa: SLF001
        return self._trainer.strategy.batch_to_device(converted)


@contextlib.contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Compute something that leaves generators alone, and that compiled code cannot."""
    with (
        global_generators_of(seed, "network"),
        torch.enable_grad(),
        # Compiled networks cannot be differentiated twice.
        torch.compiler.set_stance("force_eager"),
    ):
        yield


@contextlib.contextmanager
def _generators_kept(loader: Any) -> Iterator[None]:
    """Undo what is drawn from a loader's own generators."""
    owners = (loader, getattr(loader, "sampler", None))
    generators = [getattr(owner, "generator", None) for owner in owners]
    own = [item for item in generators if isinstance(item, torch.Generator)]
    states = [generator.get_state() for generator in own]
    try:
        yield
    finally:
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)


def _gradients(
    loss: Tensor, weights: Mapping[str, nn.Parameter], *, create_graph: bool = False
) -> dict[str, Tensor]:
    """Differentiate with respect to all weights; zero for one that takes no part."""
    gradients = torch.autograd.grad(
        loss,
        list(weights.values()),
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(weights, gradients, strict=True))


def _loss(module: pl.LightningModule, batch: Any) -> Tensor:
    takes_index = is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2)
    output = module.training_step(batch, 0) if takes_index else module.training_step(batch)
    loss = output["loss"] if isinstance(output, Mapping) else output
    if not isinstance(loss, Tensor):
        raise UserError(
            f"{type(module).__name__}.training_step gave a {type(loss).__name__}, no loss; "
            "the sparse method asks for its gradients before the first step"
        )
    return loss


def _mean_over_ranks(tensor: Tensor) -> Tensor:
    if is_shared():
        distributed.all_reduce(tensor)
        tensor /= distributed.get_world_size()
    return tensor


def _log_nothing(*_: Any, **__: Any) -> None:
    """Stand in for what logs."""
