import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.digits import build_digits
from lightning_sparse.training.classifier_module import ClassifierModule, TrainingSettings
from lightning_sparse.training.trainer import fit, quiet_trainer

CPU = {"accelerator": "cpu", "devices": 1}


@pytest.fixture
def broadcasts(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: seen.append("broadcast"))
    return seen


def test_ranks_do_not_wait_for_each_other_before_every_batch(broadcasts):
    """They vote now and then instead, in `CheckpointCallback`."""
    quiet_trainer(1, [], CPU).fit_loop.epoch_loop._broadcast_sigterm_tensor()

    assert broadcasts == []


def test_lightning_would_let_them_wait(broadcasts):
    loop = quiet_trainer(1, [], CPU).fit_loop.epoch_loop

    _TrainingEpochLoop._broadcast_sigterm_tensor(loop)

    assert broadcasts == ["broadcast"]


def test_gradients_are_forgotten_as_by_the_optimizer():
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD([{"params": [network.weight]}, {"params": [network.bias]}], lr=0.1)
    network(torch.ones(1, 2)).sum().backward()
    module = ClassifierModule(network, TrainingSettings(num_steps=1, learning_rate=0.1))

    module.optimizer_zero_grad(0, 0, optimizer)

    assert network.weight.grad is None
    assert network.bias.grad is None


class DoubledImages(pl.LightningDataModule):
    """A guest's, with a hook for batches."""

    def train_dataloader(self):
        return ImageDataModule(build_digits(), batch_size=8, seed=1).train_dataloader()

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return 2 * batch[0], batch[1]


def digits_line():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


class Seen(pl.Callback):
    """Keeps the last batch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batch = batch


def test_batch_hooks_of_another_data_module_are_called():
    seen = Seen()
    module = ClassifierModule(digits_line(), TrainingSettings(num_steps=1, learning_rate=0.1))

    fit(quiet_trainer(1, [seen], CPU), module, DoubledImages(), 1)

    images, _ = next(iter(DoubledImages().train_dataloader()))
    assert torch.equal(seen.batch[0], 2 * images)


def test_our_batches_are_given_to_the_step_as_they_are():
    seen = Seen()
    data = ImageDataModule(build_digits(), batch_size=8, seed=1)
    module = ClassifierModule(digits_line(), TrainingSettings(num_steps=1, learning_rate=0.1))

    fit(quiet_trainer(1, [seen], CPU), module, data, 1)

    expected = next(iter(data.train_dataloader()))
    assert torch.equal(seen.batch[0], expected[0])
    assert torch.equal(seen.batch[1], expected[1])


@pytest.mark.parametrize("limit", [0.5, None])
def test_gradients_are_clipped_if_there_is_a_limit(limit):
    network = digits_line()
    settings = TrainingSettings(num_steps=1, learning_rate=0.1, gradient_clip_norm=limit)
    norms = []

    class Norm(pl.Callback):
        def on_train_batch_end(self, *_):
            norms.append(torch.nn.utils.get_total_norm([p.grad for p in network.parameters()]))

    trainer = quiet_trainer(1, [Norm()], settings.with_clipping(CPU))
    data = ImageDataModule(build_digits(), batch_size=8, seed=1)
    fit(trainer, ClassifierModule(network, settings), data, 1)

    assert (norms[0] < 0.501) == (limit is not None)
