import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.application import MaskApplication
from lightning_sparse.sparsity.masks import full_masks, kept_and_prunable, num_kept
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.sparsity.methods.powerpropagation import Powerpropagation
from lightning_sparse.sparsity.packed_masks import unpack_masks
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.training.problems import make_data, make_network, make_pruning, make_settings

CPU = {"accelerator": "cpu", "devices": 1}

# `Trainer.fit` itself, for checkpoints; of all but the last, training/trainer.py says why.
own_fit = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec.*deprecated:FutureWarning",
    "ignore:.*no `validation_step`:UserWarning",
    "ignore:.*`srun` command is available:UserWarning",
    "ignore:The dirpath has changed:UserWarning",
    "ignore:The `srun` command is available:UserWarning",
)


class Witness(pl.Callback):
    """Stands behind the real callback and looks at every optimizer step."""

    def __init__(self, sparsity):
        self.sparsity = sparsity
        self.kept = {}
        self.leaks = []
        self.num_momenta = 0
        self.masks_of_batches = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        masks = self.sparsity.masks
        self.kept[trainer.global_step] = kept_and_prunable(masks)[0]
        self.masks_of_batches.append((trainer.global_step, kept_and_prunable(masks)[0]))
        for name, weight in prunable_weights(pl_module.network).items():
            momentum = trainer.optimizers[0].state[weight].get("momentum_buffer")
            self.num_momenta += momentum is not None and bool(momentum.any())
            outside = ~masks[name]
            for kind, tensor in (("weight", weight), ("momentum", momentum)):
                if tensor is not None and tensor[outside].any():
                    self.leaks.append((trainer.global_step, name, kind))

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        """The last moment at which gradients of the previous step are there."""
        for name, weight in prunable_weights(pl_module.network).items():
            if weight.grad is not None and weight.grad[~self.sparsity.masks[name]].any():
                self.leaks.append((trainer.global_step, name, "gradient"))


def run(method, *, network=None, num_steps=12, **options):
    network = network or make_network()
    sparsity = SparsityCallback(method, network="network")
    witness = Witness(sparsity)
    module = ClassifierModule(network, make_settings(num_steps=num_steps))
    trainer = quiet_trainer(num_steps, [sparsity, witness], {**CPU, **options})
    fit(trainer, module, make_data(), num_steps)
    return witness


def scheduled(method, num_steps):
    """Kept weights after each step, from the schedule alone."""
    shapes = {name: w.shape for name, w in prunable_weights(make_network()).items()}
    history, kept = {}, sum(shape.numel() for shape in shapes.values())
    for step in range(1, num_steps + 1):
        if method.is_due(step):
            targets = method.layer_sparsities(shapes, step)
            kept = sum(num_kept(shape.numel(), targets[name]) for name, shape in shapes.items())
        history[step] = kept
    return history


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_masked_entries_are_exactly_zero_after_every_step(memory_format):
    method = make_pruning(sparsity=0.8)

    witness = run(method, network=make_network(memory_format=memory_format))

    assert witness.leaks == []
    assert witness.num_momenta > 0
    assert witness.kept == scheduled(method, 12)
    assert len(set(witness.kept.values())) > 3


def test_the_witness_sees_a_callback_that_masks_no_gradients(monkeypatch):
    monkeypatch.setattr(SparsityCallback, "on_before_optimizer_step", lambda *_: None)
    # It would notice, and hold the weights at zero.
    monkeypatch.setattr(MaskApplication, "leaks", lambda _: False)

    kinds = {kind for _, _, kind in run(make_pruning()).leaks}

    assert kinds == {"weight", "momentum", "gradient"}


def test_masks_change_only_at_optimizer_steps_when_gradients_are_accumulated():
    method = make_pruning(sparsity=0.8)

    witness = run(method, accumulate_grad_batches=2)

    assert {step: kept for step, kept in witness.kept.items() if step} == scheduled(method, 12)
    assert len(witness.masks_of_batches) == 24
    # The batch that only accumulates still sees the masks of the step before it.
    assert witness.masks_of_batches[0] == (0, 231)
    assert all(
        earlier == later
        for earlier, later in zip(
            witness.masks_of_batches[1::2], witness.masks_of_batches[2::2], strict=False
        )
    )


def test_a_method_is_asked_once_per_step_also_when_gradients_are_accumulated(monkeypatch):
    steps = []
    monkeypatch.setattr(Dense, "is_due", lambda _, step: steps.append(step))

    run(Dense(), accumulate_grad_batches=3, num_steps=4)

    assert steps == [1, 2, 3, 4]


def test_the_network_keeps_its_own_state_dict():
    network = make_network()
    own_names = list(network.state_dict())

    run(make_pruning(), network=network)

    assert list(network.state_dict()) == own_names
    assert not [name for name, _ in network.named_buffers() if "mask" in name]


class WithUnusedLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.used = nn.Linear(36, 3)

    def forward(self, images):
        return self.used(images.flatten(1))


def test_a_layer_that_gets_no_gradient_is_masked_as_well():
    network = make_network(network_type=WithUnusedLayer)

    witness = run(make_pruning(), network=network)

    assert witness.leaks == []
    assert int(network.unused.weight.count_nonzero()) == num_kept(9, 0.5)


def fit_with_checkpoints(folder, method, *, num_steps, network=None, resume_from=None, first=()):
    network = network or make_network()
    sparsity = SparsityCallback(method, network="network")
    checkpoints = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    options = {**CPU, "enable_checkpointing": True}
    trainer = quiet_trainer(num_steps, [*first, sparsity, checkpoints], options)
    module = ClassifierModule(network, make_settings(num_steps=12))
    trainer.fit(module, datamodule=make_data(), ckpt_path=resume_from, weights_only=True)
    return network, sparsity


@own_fit
def test_a_checkpoint_holds_the_masks_and_loads_without_running_code(tmp_path):
    _, sparsity = fit_with_checkpoints(tmp_path, make_pruning(), num_steps=5)

    checkpoint = torch.load(tmp_path / "step=5.ckpt", weights_only=True)

    stored = checkpoint["callbacks"][sparsity.state_key]["masks"]
    assert list(stored) == ["conv1.weight", "conv2.weight", "fc.weight"]
    masks = unpack_masks(stored)
    assert all(torch.equal(mask, sparsity.masks[name]) for name, mask in masks.items())
    assert kept_and_prunable(masks)[0] < 231
    assert sum(packed["bits"].nbytes for packed in stored.values()) == 5 + 23 + 2
    assert not [name for name in checkpoint["state_dict"] if "mask" in name]


# Before pruning, between two updates, at an update, after the last one; an epoch ends at 6.
@own_fit
@pytest.mark.parametrize("stop", [1, 5, 6, 9])
def test_a_resumed_run_is_the_straight_run_bit_for_bit(tmp_path, stop):
    straight, straight_sparsity = fit_with_checkpoints(
        tmp_path / "straight", make_pruning(), num_steps=12
    )
    fit_with_checkpoints(tmp_path / "cut", make_pruning(), num_steps=stop)

    resumed, sparsity = fit_with_checkpoints(
        tmp_path / "resumed",
        make_pruning(),
        num_steps=12,
        network=make_network(seed=99),
        resume_from=tmp_path / "cut" / f"step={stop}.ckpt",
    )

    assert kept_and_prunable(sparsity.masks) == kept_and_prunable(straight_sparsity.masks)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@own_fit
def test_the_comparison_of_resumed_runs_can_tell_two_steps_apart(tmp_path):
    fit_with_checkpoints(tmp_path, make_pruning(), num_steps=12)
    earlier, later = (
        torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)["state_dict"]
        for step in (11, 12)
    )

    assert not torch.equal(earlier["network.fc.bias"], later["network.fc.bias"])


@own_fit
@pytest.mark.parametrize("lack", ["no state of the callback", "no masks in it"])
def test_a_checkpoint_without_masks_is_refused(tmp_path, lack):
    _, sparsity = fit_with_checkpoints(tmp_path, make_pruning(), num_steps=5)
    checkpoint = torch.load(tmp_path / "step=5.ckpt", weights_only=True)
    if lack == "no masks in it":
        checkpoint["callbacks"][sparsity.state_key]["masks"] = {}
    else:
        del checkpoint["callbacks"][sparsity.state_key]
    torch.save(checkpoint, tmp_path / "stripped.ckpt")

    with pytest.raises(UserError, match="the checkpoint holds no masks; resume from one"):
        fit_with_checkpoints(
            tmp_path / "again", Dense(), num_steps=12, resume_from=tmp_path / "stripped.ckpt"
        )


@own_fit
def test_a_checkpoint_of_a_method_that_trains_the_networks_own_weights_is_refused(tmp_path):
    fit_with_checkpoints(tmp_path, make_pruning(), num_steps=5)
    powers = Powerpropagation(
        sparsity=0.5, start_step=2, end_step=7, update_every=2, distribution=None
    )

    with pytest.raises(UserError, match="holds no weights that Powerpropagation trains; resume"):
        fit_with_checkpoints(
            tmp_path / "again", powers, num_steps=12, resume_from=tmp_path / "step=5.ckpt"
        )


@own_fit
def test_a_checkpoint_with_masks_of_another_network_is_refused(tmp_path):
    _, sparsity = fit_with_checkpoints(tmp_path, make_pruning(), num_steps=5)
    checkpoint = torch.load(tmp_path / "step=5.ckpt", weights_only=True)
    masks = checkpoint["callbacks"][sparsity.state_key]["masks"]
    masks["fc.weight"]["shape"].reverse()
    torch.save(checkpoint, tmp_path / "foreign.ckpt")

    with pytest.raises(UserError, match=r"masks do not fit: 'fc.weight' has a mask of shape"):
        fit_with_checkpoints(
            tmp_path / "again", Dense(), num_steps=12, resume_from=tmp_path / "foreign.ckpt"
        )


def test_masks_that_do_not_fit_the_network_are_refused_before_training():
    masks = full_masks({"conv1.weight": torch.zeros(4, 1, 3, 3)})

    with pytest.raises(UserError, match=r"masks do not fit: the masks lack 'conv2.weight'"):
        run(GivenMask(masks=masks))
