import re
import shutil
import time
from collections import namedtuple

import pytest
import torch
from torch import nn

from lightning_sparse.cli import check
from lightning_sparse.cli.main import main
from lightning_sparse.data import loader
from lightning_sparse.models import compiling
from lightning_sparse.training import rehearsal


def words(folder, *others):
    return ["check", "experiment=smoke", f"runs_dir={folder}/runs", *others]


def test_a_run_that_nothing_stands_in_the_way_of_is_told_what_it_will_take(tmp_path, capsys):
    status = main(words(tmp_path, "method=prune", "capture_steps=[1]"))
    said = capsys.readouterr().out
    assert "ConvNet, 34,558 parameters; digits, 1,024 training images; they fit" in said
    assert "step: 64 images = batch_size 64 x 1 devices x 1 nodes x 1 accumulated; 12 steps" in said
    assert re.search(
        r"speed: the loader gives [\d,]+ images/s, a step on cpu takes [\d,]+ im", said
    )
    # 34,558 parameters of four bytes, and statistics of batch norm.
    assert re.search(
        r"memory: [\d.]+ MB = weights 139 kB \+ gradients 138 kB \+ momentum 138 kB "
        r"\+ masks 171 kB \+ the larger of activations of 64 images in a step [\d.]+ [kM]B "
        r"and evaluation of 512 images [\d.]+ MB; [\d.]+ GB are free",
        said,
    )
    assert "disk: 1.25 MB = 3 checkpoints of 278 kB + 3 sets of weights of 139 kB; " in said
    assert status == ("WARNING" in said)
    assert list(tmp_path.iterdir()) == []


def test_a_dense_run_has_no_masks_and_compiled_steps_are_those_that_are_timed(
    tmp_path, monkeypatch, capsys
):
    compiled = []

    def compile_(network):
        compiled.append(network)
        compiling.compile_(network, backend="eager")

    monkeypatch.setattr(rehearsal, "compile_", compile_)
    main(words(tmp_path, "compile=true", "model._target_=tests.cli.narrow.NarrowNet"))
    assert "+ masks 0 B +" in capsys.readouterr().out
    (twin,) = compiled
    assert twin._compiled_call_impl is not None


def test_the_memory_of_evaluation_is_all_that_is_alive_at_once():
    """Of float32: the images, the first hidden layer, and the second one or the logits with it."""
    network = nn.Sequential(nn.Linear(10, 100), nn.Linear(100, 7), nn.Linear(7, 3))
    images = torch.zeros(8, 10)
    assert rehearsal._alive_in_evaluation(network, images) == 8 * 4 * (10 + 100 + 7)
    assert network.training


def test_a_loader_that_is_slower_than_a_step_is_named_with_both_rates(
    tmp_path, monkeypatch, capsys
):
    batches = loader.TensorLoader._batches

    def slowly(self, epoch, first):
        for batch in batches(self, epoch, first):
            time.sleep(0.2)
            yield batch

    monkeypatch.setattr(loader.TensorLoader, "_batches", slowly)
    assert main(words(tmp_path)) == 1
    said = capsys.readouterr().out
    found = re.search(
        r"WARNING: the loader is the bottleneck: (\d+) images/s against ([\d,]+);", said
    )
    assert 200 < int(found[1]) < 330
    assert int(found[2].replace(",", "")) > 330
    assert said.endswith(" warnings\n")


def test_memory_and_disk_that_do_not_suffice_are_warned_of(tmp_path, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 1_000_000))
    monkeypatch.setattr(check, "_free_memory", lambda _: 1_000_000)
    assert main(words(tmp_path)) == 1
    said = capsys.readouterr().out
    assert re.search(
        r"WARNING: evaluation needs [\d.]+ MB of memory and 1 MB are free: lower ev", said
    )
    assert "WARNING: the run needs 1.11 MB on disk and 1 MB are free in " in said


def test_a_folder_that_cannot_be_written_ends_it_before_anything_else(
    tmp_path, monkeypatch, refused
):
    monkeypatch.setattr(check, "_is_writable", lambda _: False)
    message = refused(*words(tmp_path))
    assert message.startswith(f"runs_dir={tmp_path}/runs: nothing can be written in {tmp_path};")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.root=/nowhere", "data"),
        ("trainer.accelerator=gpu", "trainer.accelerator=gpu: there is no GPU here"),
        ("batch_size=99999", "batch_size"),
    ],
)
def test_what_could_not_begin_is_one_line_and_status_two(refused, tmp_path, setting, message):
    assert message in refused(*words(tmp_path, setting))
    assert list(tmp_path.iterdir()) == []


def test_free_memory_is_that_of_the_share_that_a_container_has(tmp_path, monkeypatch):
    files = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(check, "_LIMITS", files)
    machine = check._free_memory(check.torch.device("cpu"))
    files[0].write_text("5000\n")
    files[1].write_text("2000\n")
    assert check._free_memory(check.torch.device("cpu")) == 3000 < machine
