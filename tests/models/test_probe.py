import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from lightning_sparse.models.probe import ForwardProbe, operations_in_the_open
from tests.training.problems import make_masks, make_network


def probed(network, images):
    with torch.no_grad(), operations_in_the_open(network), ForwardProbe(network) as probe:
        network(images)
    return probe


def half_masked(layer):
    with torch.no_grad():
        flat = layer.weight.view(-1)
        flat[::2] = 0
    return layer


class Standardised(nn.Conv2d):
    """Convolves with a function of its weight."""

    def forward(self, images):
        weight = self.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std()
        return functional.conv2d(images, weight, self.bias)


class Scaled(nn.Linear):
    """Multiplies its weight by a buffer and a parameter, which keeps zeros."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.tensor(3.0))
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, images):
        weight = (self.weight.double() * self.scale * self.gain).float()
        return torch.einsum("bi,oi->bo", images, weight) + self.bias


def test_a_standardised_weight_arrives_without_its_zeros():
    layer = half_masked(Standardised(2, 3, 3))
    assert probed(layer, torch.randn(2, 2, 5, 5)).zero_share == {"weight": 0.0}


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(4, 6),
        Scaled(4, 6),
        nn.Conv1d(4, 6, 1, groups=2),
        nn.ConvTranspose1d(4, 6, 1),
        parametrizations.spectral_norm(nn.Linear(4, 6)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_zeros_arrive_however_a_layer_computes(layer):
    with torch.no_grad():
        next(p for p in layer.parameters() if p.dim() > 1).view(-1)[::2] = 0
    is_convolution = "Conv" in type(layer).__name__
    probe = probed(layer, torch.randn(3, 4, 1) if is_convolution else torch.randn(3, 4))
    name = next(name for name, p in layer.named_parameters() if p.dim() > 1)
    assert probe.zero_share[name] == 0.5
    assert probe.met == set(dict(layer.named_parameters()))


def test_recurrent_weights_meet_what_comes_of_the_images():
    network = nn.LSTM(3, 2)
    assert probed(network, torch.randn(4, 1, 3)).met == set(dict(network.named_parameters()))


def test_a_buffer_that_takes_up_images_is_no_weight_any_more():
    class Centred(nn.Linear):
        def __init__(self):
            super().__init__(4, 4)
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, images):
            self.mean.copy_(images.mean(0))
            return (images * self.mean) @ self.weight

    probe = probed(half_masked(Centred()), torch.randn(3, 4))
    assert probe.zero_share == {"weight": 0.5}
    assert probe.met == {"weight"}


def test_looking_changes_nothing():
    network, images = make_network().eval(), torch.randn(2, 1, 6, 6)
    twin = copy.deepcopy(network)
    expected = twin(images)
    with ForwardProbe(network) as probe:
        assert torch.equal(network(images), expected)
    assert set(make_masks()) <= probe.met


def test_attention_runs_by_itself_again_afterwards():
    before = torch.backends.mha.get_fastpath_enabled()
    with operations_in_the_open(nn.LSTM(1, 1)):
        assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch._C._get_mkldnn_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert torch._C._get_mkldnn_enabled()
