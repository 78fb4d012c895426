"""The ImageNet experiments: landmarks of the published recipes, and what the experiments share."""

import pytest
import torch
from torch import nn

from lightning_sparse.execution.build import build_method, build_training
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.models.resnet import build_resnet50
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.training.optimizers import build_optimizer

# Steps at which warm-up ends and the rate drops: round(epoch * 1,281,167 / images per step).
LANDMARKS = {
    "imagenet": (1_564, 9_384, 21_895, 28_151),
    "imagenet_128k": (6_256, 37_534, 75_068, 100_091),
}
PEAK = {"imagenet": 1.6, "imagenet_128k": 0.4}


def composed(experiment, *overrides):
    return compose_settings([f"experiment={experiment}", *overrides])


@pytest.mark.parametrize("experiment", LANDMARKS)
@pytest.mark.parametrize("method", ["dense", "prune", "scratch", "lottery"])
def test_the_rate_changes_at_the_published_epochs(experiment, method):
    training = build_training(composed(experiment, f"method={method}").training, "training")

    def rate(step):
        return training.learning_rate * training.lr_schedule.factor(step, training.num_steps)

    peak, (warm, *drops) = PEAK[experiment], LANDMARKS[experiment]
    assert rate(0) == pytest.approx(peak / warm)
    assert rate(warm // 2 - 1) == pytest.approx(peak / 2)
    assert rate(warm - 2) < rate(warm - 1) == pytest.approx(peak)
    for number, step in enumerate(drops):
        assert rate(step - 1) == pytest.approx(peak * 0.1**number)
        assert rate(step) == pytest.approx(peak * 0.1 ** (number + 1))
    assert rate(training.num_steps - 1) == pytest.approx(peak * 1e-3)
    assert (training.momentum, training.weight_decay, training.label_smoothing) == (0.9, 1e-4, 0.1)


@pytest.mark.parametrize(
    ("experiment", "start", "end", "every"),
    [("imagenet", 10_000, 25_000, 1_000), ("imagenet_128k", 40_000, 100_000, 2_000)],
)
def test_the_sparsity_rises_in_the_published_window(experiment, start, end, every):
    settings = composed(experiment, "method=prune", "sparsity=0.8")
    method = build_method(settings, None)
    num_steps = settings.training.num_steps

    due = [step for step in range(num_steps + 1) if method.is_due(step)]
    assert due == list(range(start + every, end + 1, every))
    assert method.target_sparsity(start) == 0.0
    # Cubic: after a fifth of the window 1 - (4/5)^3 of the sparsity, after half of it 7/8.
    assert method.target_sparsity(start + (end - start) // 5) == pytest.approx(0.8 * 61 / 125)
    assert method.target_sparsity((start + end) // 2) == pytest.approx(0.8 * 7 / 8)
    assert method.target_sparsity(end) == method.target_sparsity(num_steps) == 0.8


def test_both_recipes_are_102_epochs():
    for experiment in LANDMARKS:
        settings = composed(experiment)
        images = settings.training.num_steps * settings.global_batch_size
        assert images == 131_072_000


@pytest.mark.parametrize(
    ("experiment", "first", "last"), [("imagenet", 0.9, 0.9), ("imagenet_extended", 0.0, 0.8)]
)
def test_each_layer_policy_is_what_its_file_says(experiment, first, last):
    method = build_method(composed(experiment, "method=prune", "sparsity=0.9"), None)
    with torch.device("meta"):
        weights = prunable_weights(build_resnet50())
    shapes = {name: weight.shape for name, weight in weights.items()}
    sizes = {name: weight.numel() for name, weight in weights.items()}

    sparsities = method.layer_sparsities(shapes, 32_000)

    assert (sparsities["conv1.weight"], sparsities["fc.weight"]) == (first, last)
    assert sum(sizes.values()) == 25_502_912
    overall = sum(sparsities[name] * sizes[name] for name in sizes) / sum(sizes.values())
    assert overall == pytest.approx(0.9 if first else 0.8916, abs=5e-5)


def test_only_convolutions_and_linear_layers_are_decayed():
    with torch.device("meta"):
        network = build_resnet50()
    groups = build_optimizer(
        network, learning_rate=1.6, momentum=0.9, weight_decay=1e-4
    ).param_groups

    decayed = {id(weight) for weight in groups[0]["params"]}
    expected = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert decayed == expected
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0]
    assert all(group["nesterov"] for group in groups)


@pytest.mark.parametrize("percent", [80, 90, 95, 98])
def test_the_experiment_of_one_sparsity_shares_its_runs(percent):
    for method in ("dense", "prune", "scratch", "lottery"):
        alone = composed(f"imagenet_{percent}", f"method={method}")
        among = composed("imagenet", f"method={method}", f"sparsity={percent / 100}")
        assert plan_training(alone).run_id == plan_training(among).run_id
