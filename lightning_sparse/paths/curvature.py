"""Curvature of the loss inside a mask or in dense space, by products alone.

The Hessian inside a mask is a principal submatrix of the whole one, so its smallest eigenvalue
cannot lie below the whole one's (Cauchy): compare points, not spaces.
"""

import copy
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from torch import Tensor, nn
from torch.nn import functional

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.masks import Masks, check_masks_fit
from lightning_sparse.streams import stream_generator
from lightning_sparse.training.measurement import Batch
from lightning_sparse.training.ranks import sum_over_ranks

Vector = NDArray[np.float64]
Product = Callable[[Vector], Vector]


class Curvature:
    """Products with the matrices of second derivatives of the mean cross-entropy.

    Coordinates are the prunable weights that the masks keep, layer after layer; everything else
    stays as it is. The network is taken as it stands: in evaluation mode batch norm has the
    statistics that the loss was measured with, which do not move with the weights. Computed in
    double precision, on a copy, where the network is; ranks share the batches.

    Args:
        network: Any whose loss can be differentiated twice, in evaluation mode.
        batches: Images and labels that the loss is the mean over: this rank's share.
        masks: What the coordinates are; None for all prunable weights.

    Raises:
        ValueError: If the network is in training mode, where each batch would have another loss.
    """

    def __init__(
        self, network: nn.Module, batches: Iterable[Batch], masks: Masks | None = None
    ) -> None:
        if network.training:
            raise ValueError("network: is in training mode; call eval() and give it statistics")
        self._network = copy.deepcopy(network).double()
        named = prunable_weights(self._network)
        self._device = next(iter(named.values())).device
        self._batches = [
            (images.to(self._device, torch.float64), labels.to(self._device))
            for images, labels in batches
        ]
        number = sum(len(labels) for _, labels in self._batches)
        self._num_images = sum_over_ranks(torch.tensor(number, device=self._device))
        if masks is not None:
            check_masks_fit(masks, named)
        self._weights = list(named.values())
        self._sizes = [weight.numel() for weight in self._weights]
        kept = [
            torch.ones(weight.shape, dtype=torch.bool) if masks is None else masks[name].cpu()
            for name, weight in named.items()
        ]
        self._kept = torch.cat([mask.reshape(-1) for mask in kept])

    @property
    def num_coordinates(self) -> int:
        """How many weights the masks keep."""
        return int(self._kept.sum())

    def gradient(self) -> Vector:
        """Differentiate once: shape (num_coordinates,)."""

        def of_batch(images: Tensor, labels: Tensor) -> Sequence[Tensor]:
            return torch.autograd.grad(self._loss(images, labels), self._weights)

        return self._summed(of_batch)

    def hessian_times(self, vector: Vector) -> Vector:
        """Multiply by the Hessian: shape (num_coordinates,) in and out."""
        direction = self._spread(vector)

        def of_batch(images: Tensor, labels: Tensor) -> Sequence[Tensor]:
            loss = self._loss(images, labels)
            gradients = torch.autograd.grad(loss, self._weights, create_graph=True)
            return torch.autograd.grad(gradients, self._weights, direction, materialize_grads=True)

        return self._summed(of_batch)

    def gauss_newton_times(self, vector: Vector) -> Vector:
        """Multiply by J' A J, with J of the logits and A the loss's Hessian in them.

        It is positive semi-definite, and the Hessian where the network is linear in its weights.
        """
        direction = self._spread(vector)

        def of_batch(images: Tensor, _: Tensor) -> Sequence[Tensor]:
            logits = self._network(images)
            # Differentiated by what it is multiplied with, J' u gives J in the direction.
            dual = torch.zeros_like(logits, requires_grad=True)
            back = torch.autograd.grad(logits, self._weights, dual, create_graph=True)
            (forward,) = torch.autograd.grad(back, dual, direction)
            shares = logits.detach().softmax(dim=1)
            curved = shares * (forward - (shares * forward).sum(dim=1, keepdim=True))
            return torch.autograd.grad(self._network(images), self._weights, curved)

        return self._summed(of_batch)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(self._network(images), labels, reduction="sum")

    def _spread(self, vector: Vector) -> list[Tensor]:
        """Cut a vector of coordinates into tensors of the weights' shapes, zero elsewhere."""
        whole = torch.zeros(len(self._kept), dtype=torch.float64)
        whole[self._kept] = torch.from_numpy(np.asarray(vector, dtype=np.float64).reshape(-1))
        parts = whole.to(self._device).split(self._sizes)
        return [part.view(weight.shape) for part, weight in zip(parts, self._weights, strict=True)]

    def _summed(self, of_batch: Callable[[Tensor, Tensor], Sequence[Tensor]]) -> Vector:
        total = torch.zeros(len(self._kept), dtype=torch.float64, device=self._device)
        for images, labels in self._batches:
            parts = [part.detach().reshape(-1) for part in of_batch(images, labels)]
            total += torch.cat(parts)
        mean = (sum_over_ranks(total) / self._num_images).cpu()
        result: Vector = mean[self._kept].numpy()
        return result


def quadratures(
    product: Product, size: int, *, seed: int, num_probes: int, num_steps: int
) -> list[tuple[Vector, Vector]]:
    """Estimate how the eigenvalues of a matrix are spread by stochastic Lanczos quadrature.

    Ubaru, Chen and Saad 2017; for networks Ghorbani, Krishnan and Xiao 2019
    (https://arxiv.org/abs/1901.10159). Lanczos keeps all its vectors orthogonal, so that no
    eigenvalue comes twice.

    Args:
        product: Multiplies a vector of ``size`` numbers by a symmetric matrix.
        size: Of the matrix.
        seed: Of the ``network`` stream that probes are drawn from.
        num_probes: Random directions.
        num_steps: Products for each of them.

    Returns:
        Nodes and weights of each probe, as `quadrature` gives them.
    """
    return [
        quadrature(product, _probe(size, seed, number), num_steps) for number in range(num_probes)
    ]


def quadrature(product: Product, start: Vector, num_steps: int) -> tuple[Vector, Vector]:
    """Return nodes and weights whose sums are start' f(A) start for polynomials f of low degree.

    Exact up to degree 2 ``num_steps`` - 1, and for every f once a step has nothing left to add.

    Args:
        product: Multiplies by A, which is symmetric.
        start: Of norm 1.
        num_steps: Of Lanczos.
    """
    basis, diagonal, off_diagonal = [start], [], []
    for _ in range(min(num_steps, len(start))):
        new = product(basis[-1])
        diagonal.append(float(basis[-1] @ new))
        known = np.stack(basis)
        for _ in range(2):  # once leaves what rounding puts back
            new = new - known.T @ (known @ new)
        length = float(np.linalg.norm(new))
        if length <= _NOTHING_LEFT * max(map(abs, diagonal)) or len(diagonal) == num_steps:
            break
        off_diagonal.append(length)
        basis.append(new / length)
    nodes, vectors = eigh_tridiagonal(diagonal, off_diagonal[: len(diagonal) - 1])
    return nodes, vectors[0] ** 2


_NOTHING_LEFT = 1e-9  # of the largest entry: what is shorter is rounding


def _probe(size: int, seed: int, number: int) -> Vector:
    generator = stream_generator(seed, "network", number, 1)
    vector: Vector = torch.randn(size, generator=generator, dtype=torch.float64).numpy()
    return vector / np.linalg.norm(vector)
