import pytest
import torch
from torch import nn

from lightning_sparse.training.optimizers import build_optimizer
from tests.training.problems import TwoLayers, make_network


def build(network, *, momentum=0.9):
    return build_optimizer(network, learning_rate=0.1, momentum=momentum, weight_decay=0.01)


def decay_by_name(network, optimizer):
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    return {name: decays.get(id(parameter)) for name, parameter in network.named_parameters()}


def test_only_convolution_and_linear_weights_are_decayed():
    network = make_network()

    assert decay_by_name(network, build(network)) == {
        "conv1.weight": 0.01,
        "bn1.weight": 0.0,
        "bn1.bias": 0.0,
        "conv2.weight": 0.01,
        "bn2.weight": 0.0,
        "bn2.bias": 0.0,
        "fc.weight": 0.01,
        "fc.bias": 0.0,
    }


class MisleadingNames(nn.Module):
    """What is decayed must follow from the type: in torchvision batch norms are not called bn."""

    def __init__(self):
        super().__init__()
        self.bn = nn.Linear(2, 2, bias=False)
        self.conv = nn.BatchNorm1d(2)
        self.embedding = nn.Parameter(torch.zeros(2, 2))


def test_groups_go_by_the_type_of_module_and_not_by_names():
    network = MisleadingNames()

    assert decay_by_name(network, build(network)) == {
        "embedding": 0.0,
        "bn.weight": 0.01,
        "conv.weight": 0.0,
        "conv.bias": 0.0,
    }


def test_frozen_parameters_are_left_out():
    network = make_network(network_type=TwoLayers)
    network.first.requires_grad_(requires_grad=False)

    assert decay_by_name(network, build(network)) == {
        "first.weight": None,
        "first.bias": None,
        "second.weight": 0.01,
        "second.bias": 0.0,
    }


def test_a_network_without_other_parameters_can_be_optimized():
    network = nn.Linear(2, 1, bias=False)
    optimizer = build(network, momentum=0.0)
    nn.init.ones_(network.weight)

    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()

    # The gradient is 1, and 0.01 from the decay of a weight of 1.
    assert torch.allclose(network.weight, torch.full((1, 2), 0.899))


def test_two_steps_follow_nesterovs_rule():
    network = nn.Linear(1, 1, bias=False)
    optimizer = build(network)
    nn.init.constant_(network.weight, 2.0)

    weight, velocity = 2.0, 0.0
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.full((1, 1), 3.0)).sum().backward()
        optimizer.step()
        gradient = 3.0 + 0.01 * weight
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * (gradient + 0.9 * velocity)

    assert network.weight.item() == pytest.approx(weight, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_every_entry_of_a_parameter_moves_in_every_precision(dtype):
    network = nn.Linear(37, 5, bias=False, dtype=dtype)
    optimizer = build(network)
    nn.init.ones_(network.weight)

    network.weight.grad = torch.ones_like(network.weight)
    optimizer.step()

    # Nesterov's first step: (1 + 0.01) (1 + 0.9) times the rate, in any precision.
    assert torch.allclose(network.weight.double(), torch.tensor(0.8081).double(), atol=4e-3)


@pytest.mark.parametrize(
    ("dtype", "is_fused"), [(torch.float32, True), (torch.float64, True), (torch.bfloat16, False)]
)
def test_half_precision_parameters_on_the_cpu_are_not_stepped_by_the_fused_kernel(dtype, is_fused):
    network = nn.Linear(3, 2, dtype=dtype)

    assert [group["fused"] for group in build(network).param_groups] == [is_fused] * 2


def test_the_optimizer_leaves_scaled_gradients_to_the_scaler():
    optimizer = build(nn.Linear(3, 2))

    # What torch's GradScaler and Lightning's precision plugin ask.
    assert not getattr(optimizer, "_step_supports_amp_scaling", False)
