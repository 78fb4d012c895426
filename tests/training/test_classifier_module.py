import json
import math

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch.nn import functional

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.lr_schedules import WarmupCosine
from lightning_sparse.training.observations import EndPointObserver
from lightning_sparse.training.progress import ProgressCallback
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.training.problems import bits, make_data, make_masks, make_network, make_settings


class Rates(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append([group["lr"] for group in optimizer.param_groups])


@pytest.mark.parametrize("first_step", [0, 5])
def test_every_step_has_its_own_rate_of_the_schedule(first_step):
    schedule = WarmupCosine(warmup_fraction=0.25)
    settings = make_settings(learning_rate=0.5, lr_schedule=schedule)
    rates = Rates()
    num_steps = 12 - first_step

    trainer = quiet_trainer(num_steps, [rates], {"accelerator": "cpu", "devices": 1})
    module = ClassifierModule(make_network(), settings, first_step)
    fit(trainer, module, make_data(), num_steps)

    expected = [0.5 * schedule.factor(step, 12) for step in range(first_step, 12)]
    assert rates.seen == [[pytest.approx(rate)] * 2 for rate in expected]
    assert module.schedule_step == 12


def test_the_objective_is_the_smoothed_cross_entropy():
    network = make_network().eval()
    images, labels = next(iter(make_data().train_dataloader()))
    module = ClassifierModule(network, make_settings(label_smoothing=0.3))

    loss = module.training_step((images, labels), 0)

    log_probabilities = functional.log_softmax(network(images), dim=1)
    targets = 0.7 * functional.one_hot(labels, 3) + 0.3 / 3
    assert torch.allclose(loss, -(targets * log_probabilities).sum(1).mean())
    assert torch.equal(module(images), network(images))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "training.num_steps=0: must be at least 1"),
        ({"learning_rate": 0.0}, "training.learning_rate=0.0: must be above 0"),
        ({"learning_rate": float("nan")}, "training.learning_rate=nan: must be above 0"),
        ({"momentum": 1.0}, r"training.momentum=1.0: must lie in \[0, 1\)"),
        ({"weight_decay": -1.0}, "training.weight_decay=-1.0: must be at least 0"),
        ({"label_smoothing": 1.0}, r"training.label_smoothing=1.0: must lie in \[0, 1\)"),
        ({"gradient_clip_norm": 0.0}, "training.gradient_clip_norm=0.0: must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_settings(**changes)


class GradientNorms(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        gradients = [weight.grad for weight in pl_module.parameters() if weight.grad is not None]
        if gradients:
            self.seen.append(float(torch.nn.utils.get_total_norm(gradients)))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(("limit", "is_clipped"), [(None, False), (0.01, True)])
def test_gradients_are_clipped_to_their_limit(limit, is_clipped, precision):
    settings, norms = make_settings(gradient_clip_norm=limit), GradientNorms()

    options = {"accelerator": "cpu", "devices": 1, "precision": precision}
    fit(
        quiet_trainer(12, [norms], settings.with_clipping(options)),
        ClassifierModule(make_network(), settings),
        make_data(),
        12,
    )

    assert (max(norms.seen) <= 0.01 * 1.001) == is_clipped


class Gradients(pl.Callback):
    """Keeps the gradients of one step as they are after the masks, and as the step takes them."""

    def __init__(self):
        self.masked, self.taken = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        # In the order of the optimizer, in which their norm is added up.
        self._weights = [item for group in optimizer.param_groups for item in group["params"]]
        self.masked = [weight.grad.clone() for weight in self._weights]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.taken = [weight.grad.clone() for weight in self._weights]


def fit_in(precision, *callbacks, num_steps=1, network=None, **changes):
    """Fit under masks; 16-mixed on the CPU, which Lightning's own words do not offer."""
    settings = make_settings(**changes)
    plugins = [MixedPrecision(precision, "cpu")] if precision == "16-mixed" else []
    options = {"plugins": plugins} if plugins else {"precision": precision}
    fit(
        quiet_trainer(
            num_steps,
            [SparsityCallback(GivenMask(masks=make_masks()), network="network"), *callbacks],
            settings.with_clipping({"accelerator": "cpu", "devices": 1, **options}),
        ),
        ClassifierModule(network or make_network(), settings),
        make_data(),
        num_steps,
    )


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_what_is_clipped_is_the_true_gradient_after_the_masks(precision):
    gradients = Gradients()

    fit_in(precision, gradients, gradient_clip_norm=0.01)

    norm = torch.nn.utils.get_total_norm(gradients.masked)
    assert norm > 0.01
    expected = [gradient * (0.01 / (norm + 1e-6)) for gradient in gradients.masked]
    assert [bits(item) for item in gradients.taken] == [bits(item) for item in expected]


def test_scaled_gradients_are_true_again_where_they_are_masked_and_observed():
    true, scaled = Gradients(), Gradients()

    fit_in("32-true", true)
    fit_in("16-mixed", scaled)

    norms = [float(torch.nn.utils.get_total_norm(item.masked)) for item in (true, scaled)]
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


class Overflows(pl.Callback):
    """Makes the gradients of one step infinite, and keeps what every step leaves behind."""

    def __init__(self, step=1):
        self.step, self.states = step, []

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == self.step:
            pl_module.network.fc.weight.grad.fill_(math.inf)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        weight = pl_module.network.fc.weight
        momentum = trainer.optimizers[0].state.get(weight, {}).get("momentum_buffer")
        self.states.append((bits(weight), None if momentum is None else bits(momentum)))


def test_a_step_that_overflows_in_sixteen_bits_changes_neither_weights_nor_momentum():
    overflows = Overflows()

    fit_in("16-mixed", overflows, num_steps=3)

    first, skipped, last = overflows.states
    assert skipped == first
    assert last != first


def test_a_first_step_that_overflows_is_left_out_in_silence_and_has_no_gradient_norm():
    overflows, sparsity = (
        Overflows(step=0),
        SparsityCallback(GivenMask(masks=make_masks()), network="network"),
    )
    module = ClassifierModule(make_network(), make_settings())
    progress = ProgressCallback(
        every_steps=1, report=None, advice="", observe=EndPointObserver(module, sparsity)
    )
    options = {"accelerator": "cpu", "devices": 1, "plugins": [MixedPrecision("16-mixed", "cpu")]}

    fit(quiet_trainer(2, [sparsity, overflows, progress], options), module, make_data(), 2)

    first, second = map(json.loads, progress.history_lines().splitlines())
    assert first["gradient_norm"] is None
    assert second["gradient_norm"] > 0
    assert overflows.states[0][1] is None
