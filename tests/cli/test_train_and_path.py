import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.execution import execute
from lightning_sparse.execution.execute import lock_file
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.process.locks import held
from lightning_sparse.records import PathRecord, RunRecord, read_record
from lightning_sparse.settings.compose import compose_settings

MY_PACKAGE = """
import torch
from torch import nn

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.sparsity.distributions import AbstractDistribution


class Net(nn.Module):
    def __init__(self, num_classes, hidden=5):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, images):
        return self.head(self.body(images))


class Rule(AbstractDistribution):
    def __init__(self, head):
        self.head = head

    def layer_sparsities(self, shapes, sparsity):
        return {name: self.head if "head" in name else sparsity for name in shapes}


def not_a_net(num_classes):
    return {"classes": num_classes}


def build(num_images=64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(num_images, 3, 2, 2, generator=generator)
    labels = (images.mean(dim=(1, 2, 3)) > 0).long()
    return ImageSource(
        name="mine",
        train=TensorImages(images, labels),
        test=TensorImages(images[:32], labels[:32]),
        num_classes=2,
        image_shape=(3, 2, 2),
        augmentation=RandomShift(max_shift=0),
    )
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Overrides that use a network and a data set which the project has never seen."""
    (tmp_path / "my_package.py").write_text(MY_PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    return [
        "experiment=smoke",
        f"runs_dir={tmp_path}/runs",
        "model._target_=my_package.Net",
        "data._target_=my_package.build",
        "distribution=uniform",
        "batch_size=16",
        "evaluation.train_subset_size=null",
        "evaluation.num_recalibration_images=64",
    ]


def only_record(folder: Path, pattern: str) -> RunRecord | PathRecord:
    (run_dir,) = folder.glob(pattern)
    return read_record(run_dir)


def test_a_network_and_a_data_set_of_ones_own_enter_from_the_command_line(mine, tmp_path, capsys):
    assert main(["train", *mine, "method=prune", "+model.hidden=10", "+data.num_images=80"]) == 0

    # 12 x 10 + 10 x 2 = 140 weights, of which a tenth of each layer stays: 12 and 2.
    record = only_record(tmp_path / "runs", "smoke-prune-*")
    assert isinstance(record, RunRecord)
    assert (record.kept, record.prunable) == (14, 140)
    assert record.train.num_images == 80
    # Biases count among all parameters.
    told = "(kept 14 of 140 prunable weights, 0.8289 of all 152 parameters, nominal 0.9)"
    assert told in capsys.readouterr().out


def test_the_sparsity_of_each_layer_may_be_given_by_hand(mine, tmp_path):
    # 60 and 10 weights: body.1 loses 45, head 2 of its 10; together 47 of 70.
    by_hand = ["distribution=by_layer", "+distribution.layers={body.*:0.75,head.weight:0.2}"]
    assert main(["train", *mine, "method=prune", *by_hand, "sparsity=0.6714"]) == 0

    record = only_record(tmp_path / "runs", "smoke-prune-*")
    assert isinstance(record, RunRecord)
    assert {name: layer.kept for name, layer in record.layers.items()} == {
        "body.1.weight": 15, "head.weight": 8,
    }  # fmt: skip
    assert (record.kept, record.prunable, record.target_sparsity) == (23, 70, 0.6714)
    assert main(["verify", str(tmp_path / "runs")]) == 0
    last = (next((tmp_path / "runs").glob("smoke-prune-*")) / "history.jsonl").read_text()
    assert '"target_sparsity": 0.6714' in last.splitlines()[-1]


def test_a_rule_of_ones_own_for_the_layers_gets_its_own_arguments_alone(mine, tmp_path):
    own = ["distribution._target_=my_package.Rule", "+distribution.head=0.5"]
    assert main(["train", *mine, "method=prune", *own]) == 0
    record = only_record(tmp_path / "runs", "smoke-prune-*")
    assert {name: layer.kept for name, layer in record.layers.items()} == {
        "body.1.weight": 6, "head.weight": 5,
    }  # fmt: skip


def test_a_curve_joins_networks_of_ones_own(mine, tmp_path, capsys):
    ends = ["path.start=dense:end", "path.end=dense2:end", "path.space=dense"]

    assert main(["path", *mine, *ends]) == 0

    record = only_record(tmp_path / "runs", "smoke-D-end-to-D2-end-degree2-*")
    assert isinstance(record, PathRecord)
    assert [record.points[0].t, record.points[-1].t] == [-0.2, 1.2]
    assert "dense:end (kept 70 of 70 weights) to dense2:end" in capsys.readouterr().out


def test_a_function_that_makes_no_network_is_one_line(mine, refused):
    message = refused("train", *mine[:2], "model._target_=my_package.not_a_net", *mine[3:])
    assert message.startswith("model._target_=my_package.not_a_net: made a dict; name a torch.nn")


def test_a_bare_scratch_run_makes_the_pruned_run_first_and_says_so(tmp_path, capsys):
    words = ["train", "experiment=smoke", f"runs_dir={tmp_path}", "method=scratch"]

    assert main(words) == 0

    shown = capsys.readouterr().out
    (pruned,) = (run for run in tmp_path.glob("smoke-prune-*"))
    assert shown.startswith(
        f"needs {pruned.name}, which is not there: it is made first (train prune"
    )
    assert "to take the masks of another pruned run, give its folder: mask_source=FOLDER" in shown
    scratch = only_record(tmp_path, "smoke-scratch-*")
    assert isinstance(scratch, RunRecord)
    assert scratch.mask_source == pruned.name
    assert scratch.start == "init/scratch"
    assert scratch.layers == read_record(pruned).layers
    assert f"(kept {scratch.kept:,} of {scratch.prunable:,} prunable weights, nominal 0.9)" in shown


def test_a_finished_run_is_not_made_again_but_shown(pruned_run, capsys):
    before = (pruned_run / "record.json").stat().st_mtime_ns
    assert main(["train", "experiment=smoke", f"runs_dir={pruned_run.parent}", "method=prune"]) == 0
    shown = capsys.readouterr().out
    assert "is finished already; remove its folder to make it again" in shown
    assert re.search(r"kept [\d,]+ of [\d,]+ prunable weights", shown)
    assert (pruned_run / "record.json").stat().st_mtime_ns == before


def test_a_pruned_run_that_is_named_gives_the_masks_and_nothing_else_is_made(pruned_run, tmp_path):
    words = ["experiment=smoke", f"runs_dir={tmp_path}", f"mask_source={pruned_run}"]

    assert main(["train", *words, "method=lottery"]) == 0
    assert main(["line", *words, "path.start=lottery:end"]) == 0

    assert not list(tmp_path.glob("smoke-prune-*"))
    lottery = only_record(tmp_path, "smoke-lottery-*")
    line = only_record(tmp_path, "smoke-L-end-*")
    assert isinstance(lottery, RunRecord)
    assert isinstance(line, PathRecord)
    assert lottery.mask_source == pruned_run.name
    assert (line.start, line.end, line.end_run) == ("lottery:end", "prune:end", pruned_run.name)
    assert line.target_sparsity == 0.9


def test_lottery_runs_rewind_to_a_step_that_the_pruned_run_then_keeps(tmp_path):
    words = ["experiment=smoke", f"runs_dir={tmp_path}", "rewind_step=2"]

    assert main(["train", *words, "method=lottery"]) == 0

    lottery = only_record(tmp_path, "smoke-lottery-*")
    assert isinstance(lottery, RunRecord)
    assert lottery.rewind_step == 2
    assert len(list(tmp_path.glob("smoke-prune-*/weights_step_2.safetensors"))) == 1


def test_records_carry_the_settings_but_no_place_of_the_machine(pruned_run):
    text = (pruned_run / "record.json").read_text()
    assert str(pruned_run.parent) not in text
    config = read_record(pruned_run).config
    assert config["pruning"] == {"start_step": 2, "end_step": 8, "update_every": 2}
    assert config["seed"] == 11


def test_what_a_killed_process_left_is_removed_and_no_lock_stays(tmp_path):
    words = ["train", "experiment=smoke", f"runs_dir={tmp_path}"]
    assert main(words) == 0
    (run_dir,) = tmp_path.glob("smoke-dense-*")
    (run_dir / "record.json").unlink()
    (run_dir / ".weights.safetensors.abc.part").touch()

    assert main(words) == 0

    assert sorted(file.name for file in run_dir.iterdir()) == [
        "SHA256SUMS",
        "history.jsonl",
        "masks.safetensors",
        "record.json",
        "start.safetensors",
        "weights.safetensors",
    ]
    assert list(tmp_path.iterdir()) == [run_dir]


def test_a_run_that_another_process_makes_is_waited_for_and_then_not_made_again(
    tmp_path, monkeypatch
):
    job = plan_training(compose_settings(["experiment=smoke", f"runs_dir={tmp_path}"]))
    made = execute.execute(job)
    (job.run_dir / "record.json").rename(tmp_path / "record.json")
    owners = []
    other = contextlib.ExitStack()
    other.enter_context(held(lock_file(job), owners.append))

    def let_the_other_finish(_, owner):
        owners.append(owner)
        (tmp_path / "record.json").rename(job.run_dir / "record.json")
        other.close()

    monkeypatch.setattr(execute, "_say_who", let_the_other_finish)
    monkeypatch.setattr(execute, "_make", None)

    assert execute.execute(job) == made
    assert owners == [f"process {os.getpid()} on {socket.gethostname()}"]


def test_a_single_run_that_another_process_makes_is_refused_with_its_owner(tmp_path, refused):
    words = ["experiment=smoke", f"runs_dir={tmp_path}"]
    job = plan_training(compose_settings(words))

    with held(lock_file(job), pytest.fail):
        error = refused("train", *words)

    owner = f"process {os.getpid()} on {socket.gethostname()}"
    assert error == f"{owner} makes {job.run_dir} already; wait for it, or stop it"
    assert not job.run_dir.exists()


def test_of_two_commands_that_begin_together_one_makes_the_run_and_the_other_names_it(tmp_path):
    words = ["train", "experiment=smoke", f"runs_dir={tmp_path}", "training.num_steps=3000"]
    command = [sys.executable, "-m", "lightning_sparse.cli.main", *words]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in both]

    assert sorted(process.returncode for process in both) == [0, 2], said
    maker, refused = sorted(both, key=lambda process: process.returncode)
    assert f"error: process {maker.pid} on " in said[both.index(refused)]
    assert len(list(tmp_path.glob("*/record.json"))) == 1


@pytest.mark.pipeline
def test_ctrl_c_in_the_middle_of_training_is_one_line_within_seconds(tmp_path):
    words = ["experiment=smoke", f"runs_dir={tmp_path}", "training.num_steps=1000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_sparse.cli.main", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("*/start.safetensors")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()

    assert errors == "interrupted; start the same command again to go on\n"
    assert process.returncode == 130
    assert not list(tmp_path.glob(".*"))
