import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from lightning_sparse.errors import UserError
from lightning_sparse.models.build import build_model
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.models.lenet import LeNet5

SOURCE = SimpleNamespace(num_classes=4, image_shape=(3, 8, 8))
NARROW = functools.partial(ConvNet, widths=(4, 5))


def weights(constructor=NARROW, seed=1, stream="init"):
    network = build_model(constructor, SOURCE, seed, stream)
    return nn.utils.parameters_to_vector(network.parameters())


def test_weights_are_a_function_of_seed_and_stream():
    first = weights()
    torch.rand(5)

    assert torch.equal(weights(), first)
    assert not torch.equal(weights(seed=2), first)
    assert not torch.equal(weights(stream="init/scratch"), first)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    weights()

    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_is_returned_as_built():
    network = build_model(NARROW, SOURCE, 1, "init")

    assert network.training
    assert all(
        buffer.eq(0).all() for name, buffer in network.named_buffers() if "running_mean" in name
    )


def test_what_a_partial_holds_is_left_alone():
    source = SimpleNamespace(num_classes=4, image_shape=(1, 8, 8))

    with pytest.raises(UserError, match=r"returns shape \(1, 5\).*set model.num_classes=4"):
        build_model(functools.partial(ConvNet, num_classes=5), source, 1, "init")


def test_torchvisions_constructors_get_the_number_of_classes():
    assert build_model(resnet18, SOURCE, 1, "init").fc.out_features == 4


class Unaware(nn.Module):
    """Any user's network, which asks for nothing of ours."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 4)

    def forward(self, pixels):
        return self.layer(pixels.flatten(1))


def test_any_module_is_built_as_it_is():
    assert isinstance(build_model(Unaware, SOURCE, 1, "init"), Unaware)


def test_a_network_for_other_images_is_refused():
    with pytest.raises(UserError, match=r"LeNet5 does not accept images of shape \(3, 8, 8\)"):
        build_model(LeNet5, SOURCE, 1, "init")
