import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from lightning_sparse.errors import UserError
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.lr_schedules import WarmupCosine
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.training.problems import make_data, make_network, make_settings


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
        ({"momentum": 1.0}, r"training.momentum=1.0: must be in \[0, 1\)"),
        ({"weight_decay": -1.0}, "training.weight_decay=-1.0: must be at least 0"),
        ({"label_smoothing": 1.0}, r"training.label_smoothing=1.0: must be in \[0, 1\)"),
        ({"gradient_clip_norm": 0.0}, "training.gradient_clip_norm=0.0: must be above 0 or null"),
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


@pytest.mark.parametrize(("limit", "is_clipped"), [(None, False), (0.01, True)])
def test_gradients_are_clipped_to_their_limit(limit, is_clipped):
    settings, norms = make_settings(gradient_clip_norm=limit), GradientNorms()

    options = settings.with_clipping({"accelerator": "cpu", "devices": 1})
    fit(
        quiet_trainer(12, [norms], options),
        ClassifierModule(make_network(), settings),
        make_data(),
        12,
    )

    assert (max(norms.seen) <= 0.01 * 1.001) == is_clipped
