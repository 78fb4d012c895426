"""Checkpoints of one run: what is in them, which is used, and which are refused."""

import json
import os
import shutil
import signal

import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import write_folder_atomic
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.process.preemption import Preempted
from lightning_sparse.records import read_record
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.training.settings import CheckpointSettings
from tests.faults.findings import note
from tests.training.problems import (
    TinyNet,
    history,
    make_data,
    make_identity,
    make_network,
    make_pruning,
    same_bits,
    train,
)

OFTEN = CheckpointSettings(every_seconds=1e-9, largest_share=1.0)
KEPT = CheckpointSettings(keep=True)


def stop_at(step, signal_number=signal.SIGTERM):
    """Signal this process in the middle of the hooks that follow ``step``."""

    def report(done, _):
        if done == step:
            os.kill(os.getpid(), signal_number)

    return report


def stopped(run_dir, step, **options):
    with pytest.raises(Preempted):
        train(run_dir, report=stop_at(step), **{"method": make_pruning(), **options})


def weights(run_dir):
    return load_tensors(run_dir / "weights.safetensors")


def state(run_dir, step):
    return torch.load(run_dir / f"checkpoints/step_{step}/state.pt", weights_only=True)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A pruned run that nothing disturbed, with its last checkpoint."""
    run_dir = tmp_path_factory.mktemp("straight")
    train(run_dir, method=make_pruning(), checkpointing=KEPT)
    return run_dir


@pytest.fixture
def cut(tmp_path):
    """A pruned run stopped after step 5, between two changes of its masks, inside an epoch."""
    stopped(tmp_path, 5)
    return tmp_path


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_run_after_a_checkpoint_of_its_step(tmp_path, signal_number):
    with pytest.raises(Preempted, match=f"^stopped by {signal_number.name}$") as raised:
        train(tmp_path, method=make_pruning(), report=stop_at(4, signal_number))

    assert raised.value.exit_status == 75
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["step_4"]
    assert not (tmp_path / "record.json").exists()


def test_handlers_are_put_back(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]

    stopped(tmp_path, 2)

    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    assert after == before


def test_a_finished_run_has_no_checkpoints(tmp_path):
    train(tmp_path, checkpointing=OFTEN)

    assert not (tmp_path / "checkpoints").exists()


def test_the_last_checkpoint_is_kept_if_asked_for(straight):
    assert [folder.name for folder in (straight / "checkpoints").iterdir()] == ["step_12"]
    stored = state(straight, 12)
    assert same_bits(
        {name.removeprefix("network."): tensor for name, tensor in stored["state_dict"].items()},
        weights(straight),
    )
    momenta = stored["optimizer_states"][0]["state"]
    assert all(momentum["momentum_buffer"].any() for momentum in momenta.values())


def test_the_newest_two_are_there_while_a_run_goes_on(tmp_path):
    seen = []

    def look(*_):
        seen.append(sorted(folder.name for folder in tmp_path.glob("checkpoints/*")))

    train(tmp_path, checkpointing=OFTEN, report=look)

    assert seen[0] == []
    assert max(map(len, seen)) == 2
    assert not [name for names in seen for name in names if name.startswith(".")]


def test_slow_disks_get_fewer_checkpoints(tmp_path, monkeypatch):
    counts = {}
    for share in (1.0, 1e-6):
        written = []
        monkeypatch.setattr(
            "lightning_sparse.training.checkpoints.write_folder_atomic",
            lambda *arguments, written=written: written.append(write_folder_atomic(*arguments)),
        )
        settings = CheckpointSettings(every_seconds=1e-9, largest_share=share)
        train(tmp_path / str(share), checkpointing=settings)
        counts[share] = len(written)

    # The first one, whose cost is not known yet, and the one after the last step.
    assert counts[1e-6] == 2
    assert counts[1.0] > 2


def test_a_stopped_run_ends_as_the_straight_one(cut, straight):
    record = train(cut, method=make_pruning(), network=make_network(seed=99), checkpointing=KEPT)

    assert same_bits(weights(cut), weights(straight))
    assert history(cut) == history(straight)
    for name in ("masks.safetensors", "start.safetensors"):
        assert (cut / name).read_bytes() == (straight / name).read_bytes()
    expected = read_record(straight)
    assert (record.train, record.test, record.layers) == (
        expected.train, expected.test, expected.layers,
    )  # fmt: skip
    assert record.provenance["num_resumed"] == 1
    assert expected.provenance["num_resumed"] == 0


def test_time_is_summed_over_the_parts(cut):
    spent = state(cut, 5)["callbacks"]["CheckpointCallback"]["wall_seconds"]
    stored = cut / "checkpoints/step_5/state.pt"
    assert 0 < spent < 60

    record = train(cut, method=make_pruning())

    assert not stored.exists()
    assert spent < record.wall_seconds < spent + 60


def test_a_run_stopped_after_its_last_step_is_only_measured(tmp_path, straight):
    stopped(tmp_path, 12)
    steps = []

    record = train(tmp_path, method=make_pruning(), report=lambda done, _: steps.append(done))

    assert steps == []
    assert record.test == read_record(straight).test
    assert same_bits(weights(tmp_path), weights(straight))
    assert history(tmp_path) == history(straight)


def test_gradient_accumulation_is_stopped_at_an_optimizer_step_only(tmp_path):
    options = {
        "method": make_pruning(),
        "trainer_options": {"accumulate_grad_batches": 4},
        "capture_steps": [3, 6],
    }
    train(tmp_path / "straight", **options)

    # An epoch is six batches: two steps, of which the second takes two batches.
    for step in (3, 6, 7):
        stopped(tmp_path / "cut", step, **options)
    train(tmp_path / "cut", **options)

    assert history(tmp_path / "cut") == history(tmp_path / "straight")
    files = list((tmp_path / "straight").glob("*.safetensors"))
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "cut" / file.name).read_bytes() == file.read_bytes(), file.name


class WithDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = TinyNet()

    def forward(self, images):
        return self.net(nn.functional.dropout(images, 0.3, self.training))


def test_a_network_that_draws_goes_on_with_the_same_draws(tmp_path):
    for name, steps in {"straight": (), "cut": (4,), "other": ()}.items():
        torch.manual_seed(8 if name == "other" else 7)
        for step in steps:
            stopped(tmp_path / name, step, network=make_network(network_type=WithDropout))
            torch.manual_seed(9)
        train(
            tmp_path / name,
            method=make_pruning(),
            network=make_network(network_type=WithDropout),
        )

    assert same_bits(weights(tmp_path / "cut"), weights(tmp_path / "straight"))
    assert not same_bits(weights(tmp_path / "other"), weights(tmp_path / "straight"))


# Negative controls: the comparison sees another step, and a part that is missing is noticed.


def test_two_steps_are_not_equal(tmp_path, straight):
    stopped(tmp_path, 11)

    earlier, later = state(tmp_path, 11)["state_dict"], state(straight, 12)["state_dict"]
    assert not same_bits(earlier, later)


def rewrite(run_dir, step, change):
    """Change the contents of a checkpoint, with hashes that fit."""
    folder = run_dir / f"checkpoints/step_{step}"
    manifest = json.loads((folder / "manifest.json").read_text())
    stored = state(run_dir, step)
    change(stored)
    file = run_dir / "changed.pt"
    torch.save(stored, file)
    write_folder_atomic(folder, {"state.pt": file.read_bytes()}, manifest["facts"])
    file.unlink()


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (lambda c: c["callbacks"]["SparsityCallback"].update(masks={}), "holds no masks"),
        (
            lambda c: c["loops"]["fit_loop"]["state_dict"].pop("combined_loader"),
            "lacks its place in the data; remove .*checkpoints to start",
        ),
        (lambda c: c.pop("generators"), "lacks the random generators; remove .*checkpoints"),
    ],
    ids=["masks", "place", "generators"],
)
def test_a_checkpoint_that_lacks_a_part_is_refused(cut, remove, message):
    rewrite(cut, 5, remove)

    with pytest.raises(UserError, match=message):
        train(cut, method=make_pruning())


def change_momentum(checkpoint):
    checkpoint["optimizer_states"][0]["state"][0]["momentum_buffer"].zero_()


def change_place(checkpoint):
    checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["position"] += 1


def change_schedule(checkpoint):
    checkpoint["lr_schedulers"][0]["last_epoch"] += 1


def change_nothing(checkpoint):
    pass


@pytest.mark.parametrize(
    ("change", "is_equal"),
    [
        (change_momentum, False),
        (change_place, False),
        (change_schedule, False),
        (change_nothing, True),
    ],
)
def test_each_part_of_a_checkpoint_decides_how_the_run_ends(cut, straight, change, is_equal):
    rewrite(cut, 5, change)

    train(cut, method=make_pruning())

    assert same_bits(weights(cut), weights(straight)) == is_equal


# Damage, and checkpoints of something else.


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def flip_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_bit, empty, os.unlink])
@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path, straight, caplog, damage, name):
    stopped(tmp_path, 5)
    shutil.copytree(tmp_path / "checkpoints/step_5", tmp_path / "step_5")
    stopped(tmp_path, 8)
    shutil.copytree(tmp_path / "step_5", tmp_path / "checkpoints/step_5", dirs_exist_ok=True)
    damage(tmp_path / "checkpoints/step_8" / name)
    steps = []

    train(tmp_path, method=make_pruning(), report=lambda done, _: steps.append(done))

    assert steps[0] == 6
    (message,) = [entry.message for entry in caplog.records if "step_8" in entry.message]
    assert message.startswith(f"passing over the checkpoint {tmp_path}/checkpoints/step_8: ")
    assert name in message
    assert same_bits(weights(tmp_path), weights(straight))


def test_a_run_whose_only_checkpoint_is_damaged_begins_again(cut, straight, caplog):
    flip_bit(cut / "checkpoints/step_5/state.pt")

    record = train(cut, method=make_pruning())

    assert "its SHA-256 differs" in caplog.text
    assert record.provenance["num_resumed"] == 0
    assert same_bits(weights(cut), weights(straight))


def test_damaged_checkpoints_do_not_push_out_good_ones(cut):
    shutil.copytree(cut / "checkpoints/step_5", cut / "checkpoints/step_11")
    flip_bit(cut / "checkpoints/step_11/state.pt")

    stopped(cut, 7)

    kept = sorted(folder.name for folder in (cut / "checkpoints").iterdir())
    assert kept == ["step_5", "step_7"]


class Wider(TinyNet):
    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"identity": make_identity(run_id="another")}, "with run_id 'tiny', this run has 'anoth"),
        ({"method": Dense()}, "with method 'GradualMagnitude', this run has 'Dense'; remove .*"),
        (
            {"network": make_network(network_type=Wider)},
            "with architecture 'TinyNet [0-9a-f]{12}', this run has 'Wider [0-9a-f]{12}'",
        ),
        ({"data": make_data(seed=2)}, "seed=2: the checkpoint was written with 1, on which"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(cut, options, message):
    with pytest.raises(UserError, match=message):
        train(cut, **{"method": make_pruning(), **options})

    assert (cut / "checkpoints/step_5").is_dir()


def test_a_checkpoint_of_another_version_is_refused(cut):
    folder = cut / "checkpoints/step_5"
    facts = json.loads((folder / "manifest.json").read_text())["facts"]
    state_file = (folder / "state.pt").read_bytes()
    write_folder_atomic(folder, {"state.pt": state_file}, {**facts, "format": "99"})

    with pytest.raises(UserError, match=r"with format '99', this run has '3'; remove .* to start"):
        train(cut, method=make_pruning())


class Malicious:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def test_a_checkpoint_with_code_is_not_run(cut, monkeypatch):
    monkeypatch.chdir(cut)
    rewrite(cut, 5, lambda stored: stored.update(generators=Malicious()))

    with pytest.raises(UserError, match="holds more than tensors and plain values, so it is not"):
        train(cut, method=make_pruning())

    has_run = (cut / "executed").exists()
    note(test="hostile files", of="checkpoint", executed=has_run)
    assert not has_run


def test_a_full_disk_loses_nothing(cut, straight, monkeypatch):
    def no_space(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", no_space)
        with pytest.raises(UserError, match=r"cannot write .*step_\d+: No space left .*free some"):
            train(cut, method=make_pruning(), checkpointing=OFTEN)
    assert [folder.name for folder in (cut / "checkpoints").iterdir()] == ["step_5"]

    train(cut, method=make_pruning())

    assert same_bits(weights(cut), weights(straight))


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"checkpoint\.every_seconds=0: must be above 0"):
        CheckpointSettings(every_seconds=0)
    with pytest.raises(UserError, match=r"checkpoint\.largest_share=2: must lie in \(0, 1\]"):
        CheckpointSettings(largest_share=2)
