import pytest
import torch
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from lightning_sparse.training.trainer import quiet_trainer

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
