"""SNIP, GraSP and SynFlow on real networks, against sorted lists of scores made otherwise."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.models.resnet import BottleneckResNet
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.masks import kept_and_prunable, layer_counts, num_kept
from lightning_sparse.sparsity.methods.grasp import GraSP
from lightning_sparse.sparsity.methods.snip import SNIP
from lightning_sparse.sparsity.methods.synflow import SynFlow
from tests.reference.before_training import flow_scores, pruned_by_flow, ranked_together
from tests.sparsity.simulation import flat, same_masks
from tests.training.probing import asked
from tests.training.problems import TwoLayers, make_data, make_network

METHODS = [SNIP, GraSP, SynFlow]


def make(method_type, **fields):
    """Spare the rounds that a test does not need."""
    return method_type(**({"num_rounds": 5} if method_type is SynFlow else {}), **fields)


def masks_of(method, network, **options):
    return asked(method.initial_masks, network, **options)


class WithoutBias(nn.Module):
    """Two matrices and a ReLU, in which flow is conserved."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(36, 7, bias=False)
        self.second = nn.Linear(7, 3, bias=False)

    def forward(self, images):
        return self.second(self.first(images.flatten(1)).relu())


def first_batch():
    return next(iter(make_data().probe_batches()))


def loss_at(network, temperature=1.0):
    """The loss on the first batch as a function of both matrices, written out."""
    images, labels = first_batch()
    first, second = network.first, network.second

    def loss(w1, w2):
        hidden = functional.linear(images.flatten(1), w1, first.bias).relu()
        outputs = functional.linear(hidden, w2, second.bias)
        return functional.cross_entropy(outputs / temperature, labels)

    return loss, (first.weight.detach(), second.weight.detach())


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_snip_keeps_what_a_sorted_list_of_gradient_times_weight_keeps(sparsity):
    network = make_network(network_type=TwoLayers)
    loss, at = loss_at(network)
    gradients = torch.autograd.functional.jacobian(loss, at)
    scores = {
        name: flat((gradient * weight).abs())
        for name, gradient, weight in zip(prunable_weights(network), gradients, at, strict=True)
    }

    masks = masks_of(SNIP(sparsity=sparsity), network)

    expected = ranked_together(scores, num_kept(273, sparsity))
    assert {name: flat(mask) for name, mask in masks.items()} == expected


@pytest.mark.parametrize(("size", "sparsity", "kept"), [(1797, 0.9, 180), (266_610, 0.95, 13_331)])
def test_snip_keeps_the_exact_number(size, sparsity, kept):
    assert num_kept(size, sparsity) == kept


def test_grasp_keeps_what_a_sorted_list_from_the_whole_hessian_keeps():
    network = make_network(network_type=TwoLayers)
    loss, at = loss_at(network, temperature=200)
    gradients = torch.autograd.functional.jacobian(loss, at)
    hessian = torch.autograd.functional.hessian(loss, at)
    scores = {}
    for name, weight, row in zip(prunable_weights(network), at, hessian, strict=True):
        product = sum(
            (block.flatten(2) * gradient.flatten()).sum(2)
            for block, gradient in zip(row, gradients, strict=True)
        )
        scores[name] = flat(weight * product)

    masks = masks_of(GraSP(sparsity=0.5), network)

    expected = ranked_together(scores, num_kept(273, 0.5))
    assert {name: flat(mask) for name, mask in masks.items()} == expected
    # The temperature moves the scores' order, not their scale alone.
    assert not same_masks(masks, masks_of(GraSP(sparsity=0.5, temperature=1.0), network))


class Quadratic(pl.LightningModule):
    """Half of w A w with A = diag(1, 4), at w = (2, 1), whatever the batch."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(2, 1, bias=False)
        self.network.weight.data = torch.tensor([[2.0, 1.0]])

    def training_step(self, batch, batch_idx):
        return (self.network.weight**2 @ torch.tensor([1.0, 4.0])).sum() / 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_grasp_on_a_quadratic_removes_what_is_computed_by_hand():
    def products(view):
        probe = view.probe()
        gradients = probe.gradients()
        return gradients["weight"], probe.hessian_times(gradients)["weight"]

    gradient, product = asked(products, None, module=Quadratic())
    assert gradient.tolist() == [[2.0, 4.0]]
    assert product.tolist() == [[2.0, 16.0]]
    masks = asked(GraSP(sparsity=0.5).initial_masks, None, module=Quadratic())
    assert masks["weight"].tolist() == [[False, True]]


def rows(weight):
    return weight.detach().double().tolist()


@pytest.mark.parametrize("num_rounds", [1, 7, 100])
def test_synflow_prunes_round_by_round_as_a_sum_over_ways_does(num_rounds):
    network = make_network(network_type=WithoutBias)
    counts = [
        num_kept(273, 1 - 0.1 ** (finished / num_rounds)) for finished in range(1, num_rounds + 1)
    ]

    masks = masks_of(SynFlow(sparsity=0.9, num_rounds=num_rounds), network)

    first, second = rows(network.first.weight), rows(network.second.weight)
    expected = pruned_by_flow(first, second, num_kept_by_round=counts)
    assert {name.split(".")[0]: flat(mask) for name, mask in masks.items()} == expected
    assert kept_and_prunable(masks)[0] == num_kept(273, 0.9)


def scores_of_flow(view):
    flow = view.probe().synaptic_flow()
    return {n: weight.detach().double().abs() * flow[n] for n, weight in view.weights.items()}


def test_flow_is_conserved_from_layer_to_layer():
    network = make_network(network_type=WithoutBias)
    start = copy.deepcopy(network)

    scores = asked(scores_of_flow, network)

    ones = torch.ones(36, dtype=torch.float64)
    out = start.second.weight.double().abs() @ (start.first.weight.double().abs() @ ones)
    for layer in scores.values():
        assert float(layer.sum()) == pytest.approx(float(out.detach().sum()), rel=1e-12)
    by_ways = flow_scores(rows(start.first.weight), rows(start.second.weight), 36)
    assert flat(scores["first.weight"]) == pytest.approx(by_ways["first"])
    assert flat(scores["second.weight"]) == pytest.approx(by_ways["second"])


class Chain(nn.Module):
    """One number through the weights 2, -3 and a half, seen three times to be logits."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(3))
        for layer, value in zip(self.weights, (2.0, -3.0, 0.5), strict=True):
            layer.weight.data.fill_(value)

    def forward(self, images):
        passed = images.flatten(1)[:, :1]
        for layer in self.weights:
            passed = layer(passed)
        return passed * torch.tensor([1.0, 0.0, 0.0])


def test_every_score_of_a_chain_is_the_flow_through_it():
    scores = asked(scores_of_flow, Chain())
    assert [score.item() for score in scores.values()] == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("method_type", METHODS)
def test_blocks_whose_last_scale_starts_at_zero_are_scored_as_if_it_were_one(method_type):
    torch.manual_seed(0)
    network = BottleneckResNet(3, 1, width_multiplier=1 / 16, layers=(1, 1, 1, 1))
    started = copy.deepcopy(network)
    for name, module in started.named_modules():
        if name.endswith("bn3"):
            nn.init.ones_(module.weight)
    method = make(method_type, sparsity=0.5)

    masks = masks_of(method, network)

    assert same_masks(masks, masks_of(method, started))
    assert not network.layer1[0].bn3.weight.any()


class Constant(WithoutBias):
    """Says the same of every image."""

    def forward(self, images):
        return super().forward(images) * 0


@pytest.mark.parametrize("method_type", METHODS)
def test_a_network_that_says_the_same_of_everything_is_refused(method_type):
    with pytest.raises(UserError, match=f"^{method_type.__name__}: all scores are zero, so no"):
        masks_of(make(method_type, sparsity=0.5), Constant())


@pytest.mark.parametrize("method_type", METHODS)
def test_within_layers_each_keeps_its_share_exactly(method_type):
    network = make_network()
    shapes = {name: weight.shape for name, weight in prunable_weights(network).items()}
    for distribution in (Uniform(first_layer=0.0), ErdosRenyiKernel()):
        shares = distribution.layer_sparsities(shapes, 0.7)

        masks = masks_of(make(method_type, sparsity=0.7, distribution=distribution), network)

        assert {name: layer.kept for name, layer in layer_counts(masks).items()} == {
            name: num_kept(shapes[name].numel(), shares[name]) for name in shapes
        }


@pytest.mark.parametrize("method_type", METHODS)
def test_shuffled_masks_keep_each_layers_number_elsewhere(method_type):
    network = make_network()
    original = masks_of(make(method_type, sparsity=0.7), network)
    shuffled = masks_of(make(method_type, sparsity=0.7, control="shuffled"), network)
    assert layer_counts(shuffled) == layer_counts(original)
    assert not same_masks(shuffled, original)
    again = masks_of(make(method_type, sparsity=0.7, control="shuffled"), network)
    assert same_masks(shuffled, again)
    other = masks_of(make(method_type, sparsity=0.7, control="shuffled"), network, seed=2)
    assert not same_masks(shuffled, other)


@pytest.mark.parametrize("method_type", METHODS)
def test_masks_of_another_start_are_those_of_permuted_weights(method_type):
    network = make_network()
    permuted = []

    def rearranged(view):
        for name, weight in view.weights.items():
            order = torch.randperm(weight.numel(), generator=view.generator)
            permuted.append((name, weight.detach().flatten()[order].view(weight.shape)))

    start = copy.deepcopy(network)
    asked(rearranged, start)
    other = copy.deepcopy(start)
    with torch.no_grad():
        for name, weight in permuted:
            prunable_weights(other)[name].copy_(weight)

    masks = masks_of(make(method_type, sparsity=0.7, control="reinitialised"), start)

    assert same_masks(masks, masks_of(make(method_type, sparsity=0.7), other))


@pytest.mark.parametrize("method_type", METHODS)
def test_masks_never_change_and_training_costs_what_is_left(method_type):
    method = make(method_type, sparsity=0.7)
    assert not any(method.is_due(step) for step in range(20))
    assert method.step_flops(3, dense=1.0, sparse=0.3) == pytest.approx(0.9)
    assert method.target_sparsity(5) == 0.7


@pytest.mark.parametrize(
    ("method_type", "field", "value"),
    [
        (SNIP, "sparsity", 90),
        (SNIP, "num_batches", 0),
        (GraSP, "sparsity", 1.0),
        (GraSP, "num_batches", 0),
        (GraSP, "temperature", 0.0),
        (SynFlow, "sparsity", -0.5),
        (SynFlow, "num_rounds", 0),
    ],
)
def test_a_bad_field_is_named_with_its_value(method_type, field, value):
    with pytest.raises(UserError, match=rf"^{field}={value!r}: must be"):
        method_type(**{"sparsity": 0.5, field: value})
