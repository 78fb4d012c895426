import math

import pytest
import torch
from torch import nn

from lightning_sparse.models.convnet import ConvNet


def test_logits_for_images_of_any_size():
    network = ConvNet(2, 5, widths=(4, 6))

    assert network(torch.zeros(3, 2, 9, 7)).shape == (3, 5)


def test_the_second_and_the_third_convolution_halve_the_resolution():
    network = ConvNet(1, 10)
    strides = [layer.stride for layer in network.modules() if isinstance(layer, nn.Conv2d)]

    assert strides == [(1, 1), (2, 2), (2, 2), (1, 1)]
    assert network.features(torch.zeros(2, 1, 8, 8)).shape == (2, 48, 2, 2)


def test_strides_are_of_the_first_convolutions_and_all_others_have_none():
    network = ConvNet(1, 10, widths=(4, 4, 4, 4, 4), strides=(2, 2, 2))
    strides = [layer.stride[0] for layer in network.modules() if isinstance(layer, nn.Conv2d)]

    assert strides == [2, 2, 2, 1, 1]
    assert network.features(torch.zeros(2, 1, 28, 28)).shape == (2, 4, 4, 4)


def test_it_has_as_many_weights_as_its_shapes_say():
    weights = {name: item.numel() for name, item in ConvNet(1, 10).named_parameters()}

    # 9 (12 + 12*24 + 24*48 + 48*48) of convolutions, 2 (12+24+48+48) of batch norm, 48*10 + 10.
    assert sum(weights.values()) == 9 * (12 + 288 + 1152 + 2304) + 264 + 490
    assert not any("features" in name and "bias" in name and weights[name] > 64 for name in weights)


def test_convolutions_are_drawn_by_he_with_fan_out():
    convolutions = [
        layer for layer in ConvNet(3, 2, (200, 300)).modules() if isinstance(layer, nn.Conv2d)
    ]

    for layer in convolutions:
        expected = math.sqrt(2 / (9 * layer.out_channels))
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert layer.bias is None


def test_channels_last_changes_nothing():
    network = ConvNet(3, 4).eval()
    images = torch.randn(2, 3, 8, 8)

    expected = network(images)
    network = network.to(memory_format=torch.channels_last)

    assert torch.allclose(
        network(images.to(memory_format=torch.channels_last)), expected, atol=1e-6
    )
