import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from lightning_sparse.data.augmentation import ProgressiveSize
from lightning_sparse.models.batch_norm import fresh_statistics
from lightning_sparse.models.compiling import compile_
from lightning_sparse.models.stateless import StatelessCall
from lightning_sparse.training.trainer import quiet

GROWING = ProgressiveSize(160, 224, start_epoch=3, end_epoch=9)
SIZES = [GROWING.at_epoch(epoch) for epoch in range(12)]


def make_network():
    return nn.Sequential(
        nn.Conv2d(3, 2, 3, stride=8), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(2, 3),
    )  # fmt: skip


class Counting:
    """Compiles nothing, and notes for which sizes it was asked, and whether for any size."""

    def __init__(self):
        self.shapes, self.are_static = [], []

    def __call__(self, graph, inputs):
        images = [i for i in inputs if isinstance(i, torch.Tensor) and i.dim() == 4]
        self.shapes.append(tuple(images[-1].shape))
        sizes = tree_leaves([list(i.shape) if isinstance(i, torch.Tensor) else i for i in inputs])
        self.are_static.append(not any(isinstance(size, torch.SymInt) for size in sizes))
        return graph.forward


@pytest.fixture
def backend():
    torch.compiler.reset()
    with quiet():
        yield Counting()
    torch.compiler.reset()


def images(size, batch_size=4):
    return torch.zeros(batch_size, 3, size, size)


def test_growing_images_are_compiled_once_per_size_and_each_for_its_own(backend):
    network = make_network()
    compile_(network, backend)

    for size in SIZES:
        network(images(size))

    assert sorted(set(SIZES)) == [160, 192, 224]
    assert [shape[2] for shape in backend.shapes] == [160, 192, 224]
    assert all(backend.are_static)


@torch.no_grad()
def test_whole_and_last_batches_of_evaluation_are_compiled_once_each(backend):
    network = make_network().eval()
    compile_(network, backend)

    for batch_size in (4, 4, 3, 4, 3, 1):
        network(images(224, batch_size))

    assert [shape[0] for shape in backend.shapes] == [4, 3, 1]
    assert all(backend.are_static)


def test_a_worker_that_makes_many_networks_compiles_all_of_them(backend):
    """Torch's own limit of eight would leave the later ones uncompiled, without a word."""
    num_modes = 0
    for width in range(4, 9):
        network = nn.Sequential(nn.Conv2d(3, width, 3, stride=8), nn.BatchNorm2d(width))
        compile_(network, backend)
        for size in SIZES:
            network(images(size))
        num_modes += len(set(SIZES))

    assert len(backend.shapes) == num_modes > 8
    assert all(backend.are_static)


def test_curves_are_compiled_once_per_size_and_their_likes_not_again(backend):
    for _ in range(2):
        template = make_network().requires_grad_(requires_grad=False)
        compile_(template, backend)
        run = StatelessCall(template)
        for size in SIZES:
            state = {
                name: torch.ones_like(parameter).requires_grad_()
                for name, parameter in template.named_parameters()
            }
            run({**state, **fresh_statistics(template)}, images(size)).sum().backward()
            assert all(weight.grad is not None for weight in state.values())

    assert [shape[2] for shape in backend.shapes] == [160, 192, 224]
    assert all(backend.are_static)
