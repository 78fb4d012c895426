import torch

from lightning_sparse.sparsity.scores import magnitude


def test_magnitude_is_the_absolute_value_without_a_gradient():
    scores = magnitude(torch.nn.Parameter(torch.tensor([-3.0, 0.0, 2.0])))
    assert scores.tolist() == [3.0, 0.0, 2.0]
    assert not scores.requires_grad
