import torch

from lightning_sparse.models.lenet import LeNet5


def test_lenet_has_the_weights_and_biases_of_the_literature():
    sizes = {name: item.numel() for name, item in LeNet5().named_parameters()}

    assert sum(size for name, size in sizes.items() if name.endswith("weight")) == 44_190
    assert sum(size for name, size in sizes.items() if name.endswith("bias")) == 236


def test_one_logit_per_class():
    assert LeNet5(3, 7)(torch.zeros(2, 3, 28, 28)).shape == (2, 7)
