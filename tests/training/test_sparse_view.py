"""What a method sees of a run, against slow loops that compute the same without the callback."""

import copy
import itertools

import pytest
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.records import read_record
from lightning_sparse.sparsity.masks import top_k_mask
from lightning_sparse.streams import stream_generator
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.optimizers import build_optimizer
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.training.methods import AsksAtStart, GrowsAtRandom, GrowsByGradient
from tests.training.problems import (
    TwoLayers,
    make_data,
    make_network,
    make_settings,
    same_bits,
    train,
)
from tests.training.test_sparsity_callback import fit_with_checkpoints, own_fit

NUM_STEPS = 12


def run(method, network, **options):
    sparsity = SparsityCallback(method, network="network", seed=1, **options.pop("callback", {}))
    module = ClassifierModule(network, make_settings(num_steps=NUM_STEPS))
    trainer = quiet_trainer(NUM_STEPS, [sparsity], {"accelerator": "cpu", "devices": 1, **options})
    fit(trainer, module, make_data(), NUM_STEPS)
    return sparsity


def largest(scores, number):
    """Flat places of the largest scores, by sorting in Python."""
    values = scores.flatten().tolist()
    return sorted(range(len(values)), key=lambda place: (-values[place], place))[:number]


def swapped(method, weight, mask):
    """Drop the smallest, then grow where the gradient is largest."""
    inside = weight.detach().abs().masked_fill(~mask, -1)
    kept = largest(inside, method.num_kept - method.num_swapped)
    growth = weight.grad.abs().flatten()
    growth[kept] = -1
    new = torch.zeros(weight.numel(), dtype=torch.bool)
    new[[*kept, *largest(growth, method.num_swapped)]] = True
    return new.view(weight.shape)


def trained_by_hand(method, network, accumulated):
    """Train as `run` does, in a plain loop; return the masks and the gradients at updates."""
    settings, weights, seen = make_settings(num_steps=NUM_STEPS), prunable_weights(network), {}
    optimizer = build_optimizer(network, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = LambdaLR(optimizer, lambda step: settings.lr_schedule.factor(step, NUM_STEPS))
    loader = make_data().train_dataloader()
    batches = itertools.chain.from_iterable(iter(loader) for _ in itertools.count())
    generator = stream_generator(1, "mask", 0)
    masks = {
        name: top_k_mask(torch.rand(weight.shape, generator=generator), method.num_kept)
        for name, weight in weights.items()
    }
    network.train()
    for step in range(NUM_STEPS + 1):
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(masks[name])
                if optimizer.state:
                    optimizer.state[weight]["momentum_buffer"] *= masks[name]
        if step == NUM_STEPS:
            return masks, seen
        optimizer.zero_grad()
        for _ in range(accumulated):
            images, labels = next(batches)
            loss = functional.cross_entropy(network(images), labels)
            (loss / accumulated).backward()
        if (step + 1) % method.every == 0:
            seen[step + 1] = {name: weight.grad.clone() for name, weight in weights.items()}
            masks = {name: swapped(method, w, masks[name]) for name, w in weights.items()}
        else:
            for name, weight in weights.items():
                weight.grad *= masks[name]
            optimizer.step()
        schedule.step()
    raise AssertionError


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before:UserWarning")
@pytest.mark.parametrize("accumulated", [1, 2])
def test_an_update_by_gradients_that_replaces_the_step_is_that_of_a_plain_loop(accumulated):
    method = GrowsByGradient()
    ours, theirs = make_network(), make_network()

    sparsity = run(method, ours, accumulate_grad_batches=accumulated)
    masks, gradients = trained_by_hand(method, theirs, accumulated)

    assert sorted(method.seen) == sorted(gradients) == [3, 6, 9, 12]
    assert all(same_bits(method.seen[step], gradients[step]) for step in gradients)
    assert all(torch.equal(sparsity.masks[name], mask) for name, mask in masks.items())
    assert same_bits(ours.state_dict(), theirs.state_dict())
    # Dense they are: what is masked has a gradient too.
    assert all(bool(grad[~masks[name]].any()) for name, grad in gradients[12].items())
    assert max(sparsity.kept_by_step) == 0  # the counts never change


def test_gradients_that_nobody_asked_for_are_not_kept():
    class Forgetful(GrowsByGradient):
        def needs_gradients(self, step):
            return False

    with pytest.raises(ValueError, match="a method that reads them says so in needs_gradients"):
        run(Forgetful(), make_network())


def loss_of(network, batch):
    return functional.cross_entropy(network(batch[0]), batch[1])


def test_what_the_probe_says_of_the_start_is_what_a_copy_of_the_network_says():
    method, network = AsksAtStart(), make_network(network_type=TwoLayers)
    start, data = copy.deepcopy(network), make_data()
    generators = torch.random.get_rng_state()

    sparsity = run(method, network, callback={"probe_batches": data.probe_batches})

    assert torch.equal(torch.random.get_rng_state(), generators)
    weights = prunable_weights(start)
    batches = list(itertools.islice(data.probe_batches(), 2))
    expected = [torch.autograd.grad(loss_of(start, b), list(weights.values())) for b in batches]
    for index, (name, weight) in enumerate(weights.items()):
        mean = (expected[0][index] + expected[1][index]) / 2
        torch.testing.assert_close(method.seen["gradients"][name], mean)
        places = set(largest((weight * mean).detach().abs(), 10))
        assert set(sparsity.masks[name].flatten().nonzero().flatten().tolist()) == places


def test_curvature_and_flow_are_those_of_explicit_formulas():
    method, network = AsksAtStart(), make_network(network_type=TwoLayers)
    start, data = copy.deepcopy(network), make_data()
    run(method, network, callback={"probe_batches": data.probe_batches})
    batches = list(itertools.islice(data.probe_batches(), 2))
    first, second = start.first, start.second

    def loss(w1, w2):
        outputs = [
            functional.linear(
                functional.linear(images.flatten(1), w1, first.bias).relu(), w2, second.bias
            )
            for images, _ in batches
        ]
        losses = [functional.cross_entropy(o, b[1]) for o, b in zip(outputs, batches, strict=True)]
        return sum(losses) / 2

    names = ["first.weight", "second.weight"]
    at = (first.weight.detach(), second.weight.detach())
    hessian = torch.autograd.functional.hessian(loss, at)
    for row, name in zip(hessian, names, strict=True):
        product = sum(block.flatten(2).sum(2) if block.dim() == 4 else block for block in row)
        torch.testing.assert_close(method.seen["product"][name], product, rtol=1e-4, atol=1e-5)

    # All parameters positive, an input of ones: no ReLU is off.
    w1, w2 = (tensor.double().abs() for tensor in at)
    inputs = torch.ones(36, dtype=torch.float64)
    hidden = w1 @ inputs + first.bias.detach().double().abs()
    flow = {
        "first.weight": torch.outer(w2.sum(0), inputs),
        "second.weight": hidden.expand(3, -1),
    }
    for name in names:
        assert method.seen["flow"][name].dtype == torch.float64
        torch.testing.assert_close(method.seen["flow"][name], flow[name])


def test_the_probe_leaves_network_and_statistics_alone_and_knows_both_modes():
    method, network = AsksAtStart(), make_network()
    before = copy.deepcopy(network.state_dict())

    class StopError(Exception):
        pass

    class LooksOnly(AsksAtStart):
        def initial_masks(self, view):
            super().initial_masks(view)
            raise StopError

    method = LooksOnly()
    with pytest.raises(StopError):
        run(method, network, callback={"probe_batches": make_data().probe_batches})

    assert same_bits(network.state_dict(), before)
    batch = next(iter(make_data().probe_batches()))
    evaluated = copy.deepcopy(network).eval()
    loss_of(evaluated, batch).backward()
    for name, weight in prunable_weights(evaluated).items():
        torch.testing.assert_close(method.seen["evaluated"][name], weight.grad)
        assert not torch.allclose(method.seen["gradients"][name], weight.grad)
        assert not torch.allclose(method.seen["elsewhere"][name], weight.grad)


def test_random_growth_draws_from_the_stream_of_seed_and_step_and_remembers():
    method = GrowsAtRandom()

    sparsity = run(method, make_network())

    state = sparsity.state_dict()["method"]
    assert (state["updates"], list(method.seen)) == (6, [2, 4, 6, 8, 10, 12])
    assert {int(mask.sum()) for mask in state["ever"].values()} == {6 + 6}
    for step, (ever, earlier, later) in method.seen.items():
        generator = stream_generator(1, "mask", step)
        for name, mask in later.items():
            draws = torch.rand(mask.shape, generator=generator).masked_fill(ever[name], -1)
            grown = (mask & ~earlier[name]).flatten().nonzero().flatten().tolist()
            assert grown == largest(draws, 1), (step, name)


@own_fit
@pytest.mark.parametrize("make_method", [GrowsByGradient, GrowsAtRandom])
@pytest.mark.parametrize("stop", [5, 6])
def test_a_resumed_run_of_any_method_is_the_straight_run_bit_for_bit(tmp_path, make_method, stop):
    straight, expected = fit_with_checkpoints(tmp_path / "straight", make_method(), num_steps=12)
    fit_with_checkpoints(tmp_path / "cut", make_method(), num_steps=stop)

    resumed, sparsity = fit_with_checkpoints(
        tmp_path / "resumed",
        make_method(),
        num_steps=12,
        network=make_network(seed=99),
        resume_from=tmp_path / "cut" / f"step={stop}.ckpt",
    )

    assert same_bits(straight.state_dict(), resumed.state_dict())
    for name, mask in expected.masks.items():
        assert torch.equal(mask, sparsity.masks[name])
    ours, theirs = (item.state_dict()["method"] for item in (sparsity, expected))
    assert ours.get("updates") == theirs.get("updates")
    assert all(torch.equal(m, theirs["ever"][n]) for n, m in ours.get("ever", {}).items())


def test_a_record_counts_dense_gradients_at_the_steps_that_need_them(tmp_path):
    train(tmp_path, method=GrowsByGradient())

    flops = read_record(tmp_path).flops

    # Every third of twelve steps: two sparse passes and a dense one.
    expected = 3 * flops.inference + (flops.dense - flops.inference) / 3
    assert flops.training == pytest.approx(expected)
    assert flops.inference < flops.dense
