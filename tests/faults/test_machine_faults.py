"""A disk that is full or read-only, no memory, a loader that dies, a clock that is set back."""

import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console

from lightning_sparse.cli.main import main
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.source import ImageSource
from lightning_sparse.errors import UserError
from lightning_sparse.execution import execute
from lightning_sparse.execution.worker import run_job
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.pipeline.places import Anywhere
from lightning_sparse.pipeline.runner import run_jobs
from lightning_sparse.training.settings import CheckpointSettings
from tests.faults import interrupted
from tests.faults.comparison import differences
from tests.faults.findings import note
from tests.faults.interrupted import NO_MORE_MEMORY, execute_short_of_memory, planned
from tests.training.problems import (
    IMAGE_SHAPE,
    NUM_CLASSES,
    SOURCE,
    make_data,
    make_network,
    make_pruning,
    same_bits,
    train,
)

pytestmark = pytest.mark.faults

OFTEN = CheckpointSettings(every_seconds=1e-9, largest_share=1.0)
WORDS = ("train", "experiment=smoke", "method=prune")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 200 kB: too small for a run, large enough to begin one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("file systems cannot be mounted here; tests/training/ injects a full disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def one_line(capsys):
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1, errors
    return errors


def weights_in(runs_dir):
    (run_dir,) = runs_dir.glob("smoke-prune-*")
    return load_tensors(run_dir / "weights.safetensors")


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    small_disk, tmp_path, capsys
):
    (small_disk / "others").write_bytes(bytes(60_000))
    assert main([*WORDS, f"runs_dir={small_disk}"]) == 2
    assert "No space left on device; free some space" in one_line(capsys)
    assert not list(small_disk.glob("*/record.json"))
    assert not list(small_disk.rglob("*.part"))

    remount(small_disk, "size=20m")
    assert main([*WORDS, f"runs_dir={small_disk}"]) == 0
    assert main([*WORDS, f"runs_dir={tmp_path / 'straight'}"]) == 0

    assert same_bits(weights_in(small_disk), weights_in(tmp_path / "straight"))


def test_a_folder_that_turns_read_only_is_one_line_and_loses_no_finished_run(small_disk, capsys):
    remount(small_disk, "size=20m")
    assert main([*WORDS, f"runs_dir={small_disk}"]) == 0
    before = weights_in(small_disk)

    remount(small_disk, "ro")
    capsys.readouterr()
    assert main([*WORDS, "seed=4", f"runs_dir={small_disk}"]) == 2
    assert "Read-only file system; choose another folder" in one_line(capsys)
    remount(small_disk, "rw")

    assert same_bits(weights_in(small_disk), before)


class Images(torch.utils.data.Dataset):
    """The same images as `SOURCE`, one by one, as from files."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images.images[index], int(self.images.labels[index])


def decoded_one_by_one(num_workers):
    source = ImageSource(
        name="patterns",
        train=Images(SOURCE.train),
        test=Images(SOURCE.test),
        num_classes=NUM_CLASSES,
        image_shape=IMAGE_SHAPE,
        augmentation=SOURCE.augmentation,
    )
    return ImageDataModule(
        source, batch_size=8, seed=1, evaluation_batch_size=16, num_workers=num_workers
    )


def signal_loaders(step, signal_number):
    def report(done, _):
        if done == step:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal_number)
            # Long enough to be noticed.
            time.sleep(0.5)

    return report


def test_a_loader_that_dies_is_one_sentence_and_the_run_goes_on(tmp_path):
    train(tmp_path / "straight", method=make_pruning(), data=make_data())

    with pytest.raises(UserError, match=r"a loader process .* start the same command again"):
        train(
            tmp_path / "cut",
            method=make_pruning(),
            data=decoded_one_by_one(1),
            checkpointing=OFTEN,
            report=signal_loaders(5, signal.SIGKILL),
        )
    assert list((tmp_path / "cut/checkpoints").glob("step_*"))
    train(tmp_path / "cut", method=make_pruning(), data=decoded_one_by_one(0))

    one, other = (
        load_tensors(tmp_path / name / "weights.safetensors") for name in ("straight", "cut")
    )
    assert same_bits(one, other)


def test_loaders_outlive_the_signal_that_a_scheduler_sends_to_all(tmp_path):
    record = train(tmp_path, data=decoded_one_by_one(1), report=signal_loaders(5, signal.SIGTERM))

    assert record.num_steps == 12


# Measured in one batch that is far larger than what a step needs.
LARGE_EVALUATION = (
    "experiment=smoke", "data=synthetic", "+data.size=32", "+data.num_train=2048",
    "+data.num_test=12", "+data.num_classes=3", "model.widths=[64,4]", "batch_size=8",
    "evaluation.batch_size=2048", "training.num_steps=24", "training.learning_rate=0.1",
    "method=prune", "pruning.start_step=6", "pruning.end_step=16", "pruning.update_every=2",
    "checkpoint.keep=true",
)  # fmt: skip


def run_forked(folder, step):
    """Make a run in a process that has imported everything; return its exit status."""
    job = planned("train", [*LARGE_EVALUATION, f"runs_dir={folder}"])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([interrupted.__name__])
    process = context.Process(target=_exit_with, args=(job, step))
    process.start()
    process.join(timeout=600)
    return process.exitcode


def _exit_with(job, step):
    os._exit(interrupted.run_planned(lambda: job, step, NO_MORE_MEMORY))


def test_a_run_for_which_there_is_no_memory_says_so_and_goes_on_when_there_is(tmp_path):
    assert run_forked(tmp_path / "straight", 0) == 0
    # Not forked: it would have memory of its parent's to spare.
    words = [*LARGE_EVALUATION, f"runs_dir={tmp_path / 'cut'}"]
    refused = subprocess.run(
        [sys.executable, interrupted.__file__, "train", "20", NO_MORE_MEMORY, "0", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip

    assert refused.returncode == 2, refused.stderr
    (line,) = refused.stderr.splitlines()
    assert "there is not enough memory" in line
    assert "lower evaluation.points_at_once, evaluation.batch_size or batch_size" in line
    [straight], [cut] = ([*(tmp_path / name).glob("smoke-*")] for name in ("straight", "cut"))
    assert cut.name in line
    assert not (cut / "record.json").exists()
    assert run_forked(tmp_path / "cut", 0) == 0
    different = differences(straight, cut)
    note(test="no memory", of="arm prune", step=20, signal="", differences=different)
    assert different == []
    assert json.loads((cut / "record.json").read_text())["provenance"]["num_resumed"] == 1


def test_a_worker_for_which_there_is_no_memory_leaves_the_other_workers_alone(tmp_path):
    def jobs(folder):
        words = [*LARGE_EVALUATION, f"runs_dir={folder}"]
        return [
            planned("train", [*words, f"method={arm}"]) for arm in ("dense", "prune", "scratch")
        ]

    def run(folder, execute, num_processes=1):
        console = Console(file=io.StringIO())
        run_jobs(jobs(folder), execute, places=Anywhere(num_processes), console=console)

    run(tmp_path / "straight", run_job)
    with pytest.raises(UserError) as caught:
        run(tmp_path / "cut", execute_short_of_memory, num_processes=2)

    assert "there is not enough memory" in str(caught.value)
    assert "with a lower reproduce.num_processes or sweep.num_processes" in str(caught.value)
    assert str(caught.value).endswith("1 job in need of these not begun")
    dense, pruned, scratch = jobs(tmp_path / "cut")
    assert (dense.is_finished, pruned.is_finished, scratch.is_finished) == (True, False, False)
    run(tmp_path / "cut", run_job)
    for made, undisturbed in zip(
        (dense, pruned, scratch), jobs(tmp_path / "straight"), strict=True
    ):
        different = differences(undisturbed.run_dir, made.run_dir)
        note(test="no memory in a worker", of=made.title, signal="", differences=different)
        assert different == []


def test_a_gpu_without_memory_is_the_same_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 ...")

    monkeypatch.setattr(execute, "_train", refuse)

    with pytest.raises(UserError, match=r"not enough memory \(CUDA out of memory\. [^\n]*\); free"):
        execute.execute(planned("train", ["experiment=smoke", f"runs_dir={tmp_path}"]))


def test_a_clock_that_is_set_back_changes_nothing(tmp_path, monkeypatch):
    train(tmp_path / "straight", method=make_pruning())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 1e6)

    def set_back(done, _):
        if done == 8:
            for newest in (tmp_path / "cut/checkpoints").iterdir():
                os.utime(newest, (now - 1e6 * done, now - 1e6 * done))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train(tmp_path / "cut", method=make_pruning(), checkpointing=OFTEN, report=set_back)
    steps = []
    record = train(
        tmp_path / "cut",
        method=make_pruning(),
        network=make_network(seed=3),
        report=lambda done, _: steps.append(done),
    )

    assert steps[0] > 2
    assert record.wall_seconds > 0
    one, other = (
        load_tensors(tmp_path / name / "weights.safetensors") for name in ("straight", "cut")
    )
    assert same_bits(one, other)
