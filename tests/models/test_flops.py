import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

from lightning_sparse.models.flops import (
    ForwardFlops,
    average_training_flops,
    flops_of_run,
    forward_flops,
    inference_flops,
    layer_flops,
)
from lightning_sparse.models.probe import operations_in_the_open
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import Flops
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from tests.reference.sparsity import convolution_flops


@pytest.fixture(scope="module")
def resnet50_layers():
    """Operations and shapes by layer at 224 x 224."""
    with torch.device("meta"):
        model = resnet50()
    shapes = {name: tuple(weight.shape) for name, weight in prunable_weights(model).items()}
    return layer_flops(model, (3, 224, 224)), shapes


def share(layers, sparsities):
    flops = layers[0]
    densities = {name: 1 - sparsity for name, sparsity in sparsities.items()}
    return inference_flops(flops, densities) / sum(flops.values())


def test_resnet50_costs_what_is_published(resnet50_layers):
    flops, _ = resnet50_layers
    assert sum(flops.values()) == 8_178_368_512
    assert flops["conv1.weight"] == 2 * 118_013_952
    assert flops["fc.weight"] == 2 * 2_048_000


@pytest.mark.parametrize(
    ("sparsity", "kernel_share", "uniform_share"),
    [(0.8, 0.414, 0.223), (0.9, 0.242, 0.126), (0.95, 0.122, 0.077)],
)
def test_sparse_resnet50_costs_what_is_published(
    resnet50_layers, sparsity, kernel_share, uniform_share
):
    _, shapes = resnet50_layers
    kernel = ErdosRenyiKernel().layer_sparsities(shapes, sparsity)
    uniform = Uniform(first_layer=0.0).layer_sparsities(shapes, sparsity)
    assert share(resnet50_layers, kernel) == pytest.approx(kernel_share, abs=5.1e-4)
    assert share(resnet50_layers, uniform) == pytest.approx(uniform_share, abs=5.1e-4)


@pytest.mark.parametrize(
    ("num_steps", "first_layer", "expected"),
    [
        # RigL's notebook averages 33 points, 0 and 32,000 both counted: as if 33,000 steps.
        (33_000, 0.0, 0.559),
        (32_000, 0.0, 0.5695),
        # 10,000 dense steps, 7,000 at 0.8, and between them the staircase, on which
        # sum over j = 1..15 of (j / 15)^3 = 14400 / 3375.
        (32_000, None, (10 + 3 + 0.8 * 14400 / 3375 + 7 * 0.2) / 32),
    ],
)
def test_pruning_resnet50_costs_what_is_published(
    resnet50_layers, num_steps, first_layer, expected
):
    _, shapes = resnet50_layers
    method = GradualMagnitude(
        sparsity=0.8,
        start_step=10_000,
        end_step=25_000,
        update_every=1_000,
        distribution=Uniform(first_layer=first_layer),
    )
    updates = [0, *(step for step in range(num_steps) if method.is_due(step))]
    shares = {
        step: share(resnet50_layers, method.layer_sparsities(shapes, step)) for step in updates
    }
    assert average_training_flops(shares, num_steps) / 3 == pytest.approx(expected, abs=5.1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [(3, 1, 1, 8), (3, 2, 1, 9), (5, 2, 0, 11), (1, 3, 0, 7)],
)
def test_convolutions_agree_with_visiting_every_position(kernel, stride, padding, size):
    layer = nn.Conv2d(3, 4, kernel, stride=stride, padding=padding)
    expected = convolution_flops(
        (size, size), tuple(layer.weight.shape), stride=stride, padding=padding
    )
    assert layer_flops(layer, (3, size, size)) == {"weight": expected}


def test_a_group_multiplies_only_its_own_channels():
    whole, grouped = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1, groups=4)
    assert layer_flops(whole, (4, 2, 2)) == {"weight": 2 * 8 * 4 * 4}
    assert layer_flops(grouped, (4, 2, 2)) == {"weight": 2 * 8 * 1 * 4}


def test_a_transposed_convolution_works_once_per_input_position():
    layer = nn.ConvTranspose2d(2, 3, 2, stride=2)
    assert layer_flops(layer, (2, 5, 5)) == {"weight": 2 * (2 * 3 * 4) * 25}


def test_a_linear_layer_works_once_per_position_of_a_sequence():
    model = nn.Sequential(nn.Flatten(2), nn.Linear(6, 5), nn.Flatten(1), nn.Linear(20, 3))
    assert layer_flops(model, (4, 2, 3)) == {"1.weight": 2 * 30 * 4, "3.weight": 2 * 60}


def test_a_layer_that_runs_twice_counts_twice():
    layer = nn.Conv2d(2, 2, 1)
    assert layer_flops(nn.Sequential(layer, layer), (2, 3, 3)) == {"0.weight": 2 * 2 * 4 * 9}


def test_a_layer_that_is_not_reached_costs_nothing():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

        def forward(self, images):
            return self.used(images)

    assert layer_flops(Half(), (1, 2, 2)) == {"used.weight": 8, "unused.weight": 0}


def test_counting_leaves_the_model_and_the_generator_as_they_were():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator_state = torch.random.get_rng_state()
    layer_flops(model, (1, 4, 4))
    assert torch.equal(torch.random.get_rng_state(), generator_state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("steps", [{}, {1: 1.0}, {0: 1.0, 5: 2.0, 3: 1.0}, {0: 1.0, 11: 2.0}])
def test_steps_that_do_not_cover_the_run_are_refused(steps):
    with pytest.raises(ValueError, match="must start at 0"):
        average_training_flops(steps, num_steps=10)


class Attention(nn.Module):
    """Rows of an image as tokens, through attention and a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.recurrent = nn.LSTM(8, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        return self.head(self.recurrent(self.attention(images.squeeze(1)))[0][:, -1])


def test_every_operation_is_counted_as_torchs_own_counter_counts_it():
    model = Attention().eval()
    with (
        torch.no_grad(),
        operations_in_the_open(model),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.zeros(1, 1, 6, 8))
    flops = forward_flops(model, (1, 6, 8))

    assert sum(flops.layers.values()) + flops.others == counter.get_total_flops()
    # Six tokens; scores and sums of 2 heads over 4 numbers; an input, and a state from the second
    # token on, times the weights of four gates.
    assert flops.layers["attention.self_attn.in_proj_weight"] == 6 * 2 * 8 * 24
    assert flops.layers["attention.self_attn.out_proj.weight"] == 6 * 2 * 8 * 8
    assert flops.others == 2 * (2 * 2 * 6 * 6 * 4) + 6 * 2 * (8 + 5) * 20


def test_functional_calls_cost_what_layers_cost():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 5)

        def forward(self, images):
            return functional.linear(images.flatten(1), self.layer.weight, self.layer.bias)

    assert layer_flops(Functional(), (1, 2, 3)) == {"layer.weight": 60}


def test_what_no_mask_saves_is_neither_saved_in_evaluation_nor_in_training():
    operations = ForwardFlops(layers={"a": 100}, others=50)
    flops = flops_of_run(operations, {"a": 10}, {0: {"a": 1}}, num_steps=4)
    assert flops == Flops(dense=150, inference=60.0, training=180.0)


@pytest.mark.parametrize(("share", "expected"), [(0.2, 0.2026), (0.1, 0.1030), (0.05, 0.0531)])
def test_dense_gradients_now_and_then_cost_what_is_published(share, expected):
    """RigL, appendix H: (3 f T + 2 f + 1) / (3 (T + 1)) of dense training, T of 100."""
    operations = ForwardFlops(layers={"a": 1000}, others=0)

    def step_flops(step, dense, sparse):
        return 2 * sparse + (dense if step % 101 == 0 else sparse)

    kept = {0: {"a": int(1000 * share)}}
    flops = flops_of_run(operations, {"a": 1000}, kept, 10 * 101, step_flops)

    assert flops.training / 3000 == pytest.approx(expected, abs=5e-5)
