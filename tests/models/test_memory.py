import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.build import build_model
from lightning_sparse.models.memory import settle_memory_
from lightning_sparse.training.run import WEIGHTS_FILE
from tests.training.problems import SOURCE, make_pruning, same_bits, train


class Sliced(nn.Module):
    """Weights cut out of wider ones, or copies of the same."""

    def __init__(self, copied):
        super().__init__()
        wide, head = nn.Linear(40, 7), nn.Linear(9, 3)
        self.hidden, self.head = nn.Linear(36, 7), nn.Linear(7, 3)
        pieces = [wide.weight.data[:, 4:], head.weight.data[:, :7]]
        pieces = [piece.contiguous() if copied else piece for piece in pieces]
        self.hidden.weight.data, self.head.weight.data = pieces

    def forward(self, images):
        return self.head(self.hidden(images.flatten(1)).relu())


def test_views_with_gaps_train_as_their_copies_do(tmp_path):
    states = []
    for copied in (True, False):
        network = build_model(lambda copied=copied: Sliced(copied), SOURCE, 1, "init")
        record = train(tmp_path / str(copied), network=network, method=make_pruning())
        assert record.kept < record.prunable
        states.append((tmp_path / str(copied) / WEIGHTS_FILE).read_bytes())
    assert states[0] == states[1]


def test_transposed_and_sliced_tensors_get_memory_of_their_own_and_keep_their_values():
    network = nn.Linear(3, 4)
    network.weight.data = torch.arange(12.0).view(3, 4).t()
    network.register_buffer("scale", torch.ones(1).expand(4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    settle_memory_(network)
    assert network.weight.is_contiguous()
    assert network.scale.is_contiguous()
    assert same_bits(dict(network.state_dict()), before)


def test_channels_last_stays():
    network = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    address = network.weight.data_ptr()
    settle_memory_(network)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.weight.data_ptr() == address


def test_a_weight_that_two_modules_share_stays_one():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    network[0].weight.data = torch.ones(3, 6)[:, ::2]
    settle_memory_(network)
    assert network[1].weight is network[0].weight
    assert network[0].weight.is_contiguous()


def test_entries_that_share_memory_are_refused_by_name():
    network = nn.Linear(3, 3)
    network.scale = nn.Parameter(torch.ones(1).expand(3))
    with pytest.raises(UserError, match=r"'scale' share memory .*expand"):
        settle_memory_(network)


def test_windows_that_overlap_are_refused():
    network = nn.Linear(3, 3)
    network.windows = nn.Parameter(torch.ones(4).unfold(0, 2, 1))
    with pytest.raises(UserError, match="'windows' share memory"):
        settle_memory_(network)


def test_two_parameters_over_one_memory_are_refused():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = nn.Parameter(network[0].weight.data)
    with pytest.raises(UserError, match=r"'0.weight' and '1.weight' share memory"):
        settle_memory_(network)
