from math import prod

import pytest
import torch
from torchvision.models import resnet50

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.masks import num_kept


@pytest.fixture(scope="session")
def resnet50_shapes():
    with torch.device("meta"):
        return {name: tuple(w.shape) for name, w in prunable_weights(resnet50()).items()}


@pytest.fixture
def overall():
    """Overall sparsity as it would be measured: from the counts, not from the fractions."""

    def measure(sparsities, shapes):
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        kept = sum(num_kept(size, sparsities[name]) for name, size in sizes.items())
        return 1 - kept / sum(sizes.values())

    return measure
