import torch

from lightning_sparse.sparsity.masks import kept_and_prunable
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.sparsity.view import SparseView


def test_everything_is_kept_for_good():
    weights = {"w": torch.zeros(3, 2)}
    method = Dense()
    masks = method.initial_masks(SparseView.at_start(weights))
    assert kept_and_prunable(masks) == (6, 6)
    assert method.updated_masks(SparseView(step=5, weights=weights, masks=masks)) is masks
    assert not any(method.is_due(step) for step in range(100))
    assert method.target_sparsity(100) == 0.0
