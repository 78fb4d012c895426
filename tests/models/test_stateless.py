import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lightning_sparse.errors import UserError
from lightning_sparse.models.batch_norm import fresh_statistics
from lightning_sparse.models.stateless import StatelessCall
from tests.training.problems import make_network, same_bits

IMAGES = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(1))


class Tied(nn.Module):
    """One weight in two modules, and one module in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(36, 36)
        self.second = nn.Linear(36, 36)
        self.second.weight = self.first.weight
        self.again = self.second

    def forward(self, images):
        return self.again(self.second(self.first(images.flatten(1))))


@pytest.mark.parametrize("network_type", [None, Tied])
def test_it_is_functional_call(network_type):
    network, other = (
        make_network(seed, **({"network_type": network_type} if network_type else {}))
        for seed in (1, 2)
    )
    own = copy.deepcopy(network.state_dict())
    state = {name: tensor.detach() for name, tensor in other.named_parameters()}
    statistics = [fresh_statistics(network) for _ in range(2)]

    ours = StatelessCall(network)({**state, **statistics[0]}, IMAGES)

    assert torch.equal(ours, functional_call(network, {**state, **statistics[1]}, (IMAGES,)))
    assert not torch.equal(ours, network(IMAGES))
    assert same_bits(statistics[0], statistics[1])
    network.load_state_dict(own)
    assert torch.equal(StatelessCall(network)({}, IMAGES), network(IMAGES))


def test_the_network_has_its_own_tensors_back_also_after_an_error():
    network = make_network()
    before = {name: id(tensor) for name, tensor in network.named_parameters()}

    with pytest.raises(UserError, match="RuntimeError"):
        StatelessCall(network)({"fc.weight": torch.zeros(1, 1)}, IMAGES)

    assert {name: id(tensor) for name, tensor in network.named_parameters()} == before
