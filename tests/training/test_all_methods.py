"""What holds for every sparse method of the package, in a real Trainer."""

import re
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils._pytree import tree_flatten

from lightning_sparse.settings.shipped import choices
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.trainer import quiet_trainer
from tests.training.examples import EXAMPLES, method_types
from tests.training.problems import make_data, make_network, make_settings, same_bits
from tests.training.test_sparsity_callback import CPU, own_fit

ROOT = Path(__file__).parents[2]

# Most examples change at the step after the checkpoint, and once more.
STOP, NUM_STEPS = 5, 8


def test_every_method_of_the_package_is_here():
    assert {type(method) for method in EXAMPLES.values()} == method_types()


@pytest.mark.parametrize("folder", ["conf/method/*.yaml", "tests/*/**/test_*.py"])
def test_every_method_of_the_package_has_settings_and_a_test_of_its_own(folder):
    """As CONTRIBUTING's recipe asks; whatever is said of all of them is said in `EXAMPLES`."""
    text = "\n".join(file.read_text("utf-8") for file in ROOT.glob(folder))
    named = set(re.findall(r"sparsity\.methods\.(\w+)[. ]", text))
    assert {method.__module__.rpartition(".")[2] for method in method_types()} <= named


def test_every_arm_of_the_package_has_its_place_in_the_docs():
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    controls = ("_shuffled", "_reinitialised")
    assert {arm for arm in choices("method") if not arm.endswith(controls)} <= named


def same_trees(first, second):
    """Whether nested containers hold the same, tensors by contents."""
    (ours, our_form), (theirs, their_form) = tree_flatten(first), tree_flatten(second)
    return our_form == their_form and all(
        torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
        for one, other in zip(ours, theirs, strict=True)
    )


def fitted(folder, method, *, seed=0, resume_from=None):
    """Train for `NUM_STEPS`, with one checkpoint on the way."""
    network, sparsity = make_network(seed), SparsityCallback(method, network="network", seed=1)
    checkpoints = ModelCheckpoint(folder, "{step}", every_n_train_steps=STOP, save_top_k=-1)
    options = {**CPU, "enable_checkpointing": True}
    trainer = quiet_trainer(NUM_STEPS, [sparsity, checkpoints], options)
    module = ClassifierModule(network, make_settings())
    trainer.fit(module, datamodule=make_data(), ckpt_path=resume_from, weights_only=True)
    return network, sparsity


@own_fit
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_run_that_is_killed_in_a_change_goes_on_as_if_it_had_not_been(tmp_path, name):
    network, sparsity = fitted(tmp_path / "straight", EXAMPLES[name])
    torch.manual_seed(4711)

    resumed, again = fitted(
        tmp_path / "resumed",
        EXAMPLES[name],
        seed=99,
        resume_from=tmp_path / "straight" / f"step={STOP}.ckpt",
    )

    assert same_bits(network.state_dict(), resumed.state_dict())
    assert same_trees(sparsity.state_dict(), again.state_dict())
