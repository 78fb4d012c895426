import pytest
import torch
from torch import nn
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.models.resnet import BottleneckResNet, build_resnet50


@pytest.fixture(scope="module")
def theirs():
    return resnet50(zero_init_residual=True).eval()


@pytest.fixture(scope="module")
def ours():
    return BottleneckResNet(1000, small_images=False).eval()


def assert_last_scales_are_zero(network):
    blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
    assert len(blocks) == 16
    assert all((block.bn3.weight == 0).all() for block in blocks)
    assert all((block.bn2.weight == 1).all() for block in blocks)


def test_resnet50_is_torchvisions_with_zero_last_scales(theirs):
    network = build_resnet50()

    assert list(network.state_dict()) == list(theirs.state_dict())
    assert sum(weight.numel() for weight in prunable_weights(network).values()) == 25_502_912
    assert len(prunable_weights(network)) == 54
    assert network.layer2[0].conv2.stride == (2, 2)
    assert_last_scales_are_zero(network)


def test_other_channels_change_the_first_convolution_only(theirs):
    shapes, usual = (
        {name: item.shape for name, item in network.state_dict().items()}
        for network in (build_resnet50(in_channels=1), theirs)
    )

    assert shapes.pop("conv1.weight") == (64, 1, 7, 7)
    usual.pop("conv1.weight")
    assert shapes == usual


def test_full_width_with_the_standard_stem_is_torchvisions_resnet50(ours, theirs):
    images = torch.randn(1, 3, 64, 64)

    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        expected = torch.func.functional_call(theirs, ours.state_dict(), images)
        assert torch.equal(ours(images), expected)
    assert_last_scales_are_zero(ours)


def test_width_scales_every_number_of_channels(theirs):
    narrow = BottleneckResNet(10, 1, width_multiplier=0.25)
    convolutions = [module for module in narrow.modules() if isinstance(module, nn.Conv2d)]

    assert len(convolutions) == 53
    for name, weight in narrow.state_dict().items():
        if name.startswith("layer") and name.endswith("weight"):
            full = theirs.state_dict()[name]
            assert [4 * size for size in weight.shape[:2]] == list(full.shape[:2])


def test_the_stem_of_small_images_can_halve_their_resolution_and_adds_no_weight():
    usual, halved = (
        BottleneckResNet(10, 1, width_multiplier=0.125, stem_stride=stride) for stride in (None, 2)
    )

    assert usual.conv1(torch.zeros(1, 1, 28, 28)).shape[2:] == (28, 28)
    assert halved.conv1(torch.zeros(1, 1, 28, 28)).shape[2:] == (14, 14)
    shapes = [{n: w.shape for n, w in net.state_dict().items()} for net in (usual, halved)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("size", [8, 32])
def test_the_small_stem_keeps_the_resolution(size):
    network = BottleneckResNet(10, 1, width_multiplier=0.125, layers=(1, 1, 1, 1))
    images = torch.zeros(2, 1, size, size)

    assert network.maxpool(network.conv1(images)).shape[2:] == (size, size)
    assert network(images).shape == (2, 10)


def test_its_start_is_drawn_like_torchvisions(ours, theirs):
    spreads = [
        (ours.state_dict()[name].std(), weight.std())
        for name, weight in theirs.state_dict().items()
        if weight.numel() > 10_000
    ]

    assert len(spreads) == 52
    assert all(one.item() == pytest.approx(other.item(), rel=0.03) for one, other in spreads)
