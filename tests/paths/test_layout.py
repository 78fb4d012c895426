import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.sparsity.masks import full_masks
from tests.training.problems import make_network

FORMATS = [torch.contiguous_format, torch.channels_last]


class OneByOne(nn.Module):
    """Weights that are contiguous in both memory formats, and one that is in neither list."""

    def __init__(self):
        super().__init__()
        self.one_channel = nn.Conv2d(1, 3, 3)
        self.one_pixel = nn.Conv2d(3, 4, 1)
        self.one_dimension = nn.Conv1d(4, 2, 3)
        self.scale = nn.Parameter(torch.randn(()))


@pytest.fixture(params=FORMATS, ids=["contiguous", "channels_last"])
def network(request):
    return make_network(memory_format=request.param)


def test_a_vector_comes_back_as_the_parameters(network):
    layout = WeightLayout(network)
    parameters = dict(network.named_parameters())

    vector = layout.flatten(network.state_dict())
    pieces = layout.unflatten(vector)

    assert vector.shape == (layout.num_weights,) == (sum(p.numel() for p in parameters.values()),)
    assert pieces.keys() == parameters.keys()
    assert all(torch.equal(pieces[name], parameter) for name, parameter in parameters.items())


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("constructor", [OneByOne, lambda: ConvNet(1, 10), lambda: ConvNet(3, 2)])
def test_pieces_lie_in_memory_as_the_networks_parameters_do(constructor, memory_format):
    network = constructor().to(memory_format=memory_format)
    layout = WeightLayout(network)

    pieces = layout.unflatten(layout.flatten(network.state_dict()))

    for name, parameter in network.named_parameters():
        assert pieces[name].stride() == parameter.stride(), name
        assert torch.equal(pieces[name], parameter)


def test_pieces_are_views(network):
    layout = WeightLayout(network)
    vector = layout.flatten(network.state_dict())

    layout.unflatten(vector)["conv2.weight"].fill_(7.0)

    assert int((vector == 7.0).sum()) == 180


def test_gradients_reach_the_vector(network):
    layout = WeightLayout(network)
    vector = torch.zeros(layout.num_weights, requires_grad=True)

    layout.unflatten(vector)["conv2.weight"][1, 2, 0, 1].backward()

    expected = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    expected["conv2.weight"][1, 2, 0, 1] = 1.0
    assert torch.equal(vector.grad, layout.flatten(expected))


def test_buffers_are_left_out_of_the_vector(network):
    layout = WeightLayout(network)
    before = layout.flatten(network.state_dict())

    network.bn1.running_mean.fill_(9.0)

    assert torch.equal(layout.flatten(network.state_dict()), before)


def test_convolution_and_linear_weights_come_first_and_alone_decay(network):
    layout = WeightLayout(network)

    names = list(layout.unflatten(torch.zeros(layout.num_weights)))

    assert names[:3] == ["conv1.weight", "conv2.weight", "fc.weight"]
    assert layout.num_decayed == 231
    is_decayed = layout.unflatten(torch.arange(layout.num_weights) < layout.num_decayed)
    assert [name for name, piece in is_decayed.items() if piece.any()] == names[:3]
    assert all(is_decayed[name].all() for name in names[:3])


def test_a_subspace_frees_kept_weights_and_what_is_never_pruned(network):
    layout = WeightLayout(network)
    masks = dict(full_masks(prunable_weights(network)))
    masks["conv2.weight"] = torch.rand(5, 4, 3, 3) > 0.7

    free = layout.unflatten(layout.subspace(masks))

    assert torch.equal(free["conv2.weight"].bool(), masks["conv2.weight"])
    assert all(free[name].all() for name in free if name != "conv2.weight")


def test_masks_of_another_network_are_refused(network):
    with pytest.raises(UserError, match=r"masks do not fit: the masks lack 'conv2.weight'"):
        WeightLayout(network).subspace({"conv1.weight": torch.ones(4, 1, 3, 3, dtype=torch.bool)})


def test_a_missing_parameter_is_named(network):
    state = network.state_dict()
    del state["bn2.bias"]

    with pytest.raises(UserError, match=r"no parameter 'bn2.bias': another architecture"):
        WeightLayout(network).flatten(state)


def test_a_parameter_of_another_shape_is_named(network):
    state = {**network.state_dict(), "fc.weight": torch.zeros(5, 3)}

    with pytest.raises(
        UserError, match=r"'fc.weight' .* shape \(5, 3\), the network's has \(3, 5\)"
    ):
        WeightLayout(network).flatten(state)


def test_parameters_of_two_dtypes_are_refused_by_name():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(
        UserError, match=r"'0.weight' is torch.float32, '1.weight' is torch.float64"
    ):
        WeightLayout(network)
    assert WeightLayout(network.double()).num_weights == 12
