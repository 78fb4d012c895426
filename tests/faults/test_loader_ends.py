"""A run whose images are made in a loader process ends together with it, however it ends."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import lightning_sparse.cli.train  # noqa: F401 (once for all runs, which are forked)
from lightning_sparse.cli.main import main
from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.source import ImageSource

pytestmark = pytest.mark.faults

WORDS = (
    "train", "experiment=smoke", "num_threads=1", "method=dense", "num_workers=1", "batch_size=4",
    "data._target_=tests.faults.test_loader_ends.build_plain",
    "evaluation.train_subset_size=8", "evaluation.batch_size=8",
)  # fmt: skip
ENDLESS = ("training.num_steps=100000", "checkpoint.every_seconds=3600")
SECONDS = 60


class Plain:
    """Images of one colour, but for one that fails."""

    def __init__(self, length, fail_at=-1):
        self.length, self.fail_at = length, fail_at

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.fail_at:
            raise ValueError("this row has no image")
        return torch.full((1, 8, 8), float(index % 4)), index % 4


def build_plain(fail_at=-1):
    return ImageSource(
        name="plain",
        train=Plain(1024, fail_at),
        test=Plain(8),
        num_classes=4,
        image_shape=(1, 8, 8),
        augmentation=RandomShift(1),
    )


def run_in_session(words, errors):
    """Run the command line in a session of its own, as a terminal or a scheduler has it."""
    os.setsid()
    # As in any process that was not started from another one of Python.
    multiprocessing.set_start_method("fork", force=True)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(words))


@pytest.fixture
def start(tmp_path):
    """Begin runs that are killed at the latest when the test has ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    started = []

    def begin(*words):
        if words[0] != "data-synthetic":
            words = (*WORDS, f"runs_dir={tmp_path}", *words)
        arguments = (list(words), str(tmp_path / "errors"))
        process = context.Process(target=run_in_session, args=arguments)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        for number in processes(process.pid):
            os.kill(number, signal.SIGKILL)
        process.join()


def processes(session):
    """Numbers of all processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(folder.name))
    return found


def wait_until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def loader_at_work(process, folder):
    """Wait until steps are made, and return the number of the loader process."""
    wait_until(lambda: process.exitcode is not None or list(folder.glob("*/start.safetensors")))
    time.sleep(0.5)
    assert process.exitcode is None, (folder / "errors").read_text()
    (loader,) = (number for number in processes(process.pid) if number != process.pid)
    return loader


def ended(process, folder):
    """Wait until it has ended with all that it has started; return its status and last words."""
    process.join(SECONDS)
    wait_until(lambda: not processes(process.pid))
    return process.exitcode, (folder / "errors").read_text()


def test_a_finished_run(start, tmp_path):
    assert ended(start("training.num_steps=12"), tmp_path) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("training.learning_rate=1e30", "training.num_steps=60"), "training.learning_rate=1e+30"),
        (
            ("+data.fail_at=7", "training.num_steps=300"),
            "data set plain: training image 7: ValueError: this row has no image\n",
        ),
    ],
    ids=["in the run", "in the loader process"],
)
def test_a_run_with_an_error(start, tmp_path, words, message):
    status, errors = ended(start(*words), tmp_path)

    assert status == 2
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "expected", "whom"),
    [
        ("SIGTERM", 75, "the run"),
        ("SIGTERM", 75, "all its processes"),
        ("SIGUSR1", 75, "all its processes"),
        ("SIGINT", 130, "the run"),
        ("SIGINT", 130, "all its processes"),
        ("SIGKILL", -9, "the run"),
    ],
)
def test_a_run_that_gets_a_signal(start, tmp_path, name, expected, whom):
    process = start(*ENDLESS)
    loader_at_work(process, tmp_path)
    kill = os.kill if whom == "the run" else os.killpg
    kill(process.pid, signal.Signals[name])

    status, errors = ended(process, tmp_path)

    assert status == expected
    assert errors.count("\n") == (name != "SIGKILL")
    if expected == 75:
        assert list(tmp_path.glob("*/checkpoints/step_*"))


def test_a_loader_process_that_is_killed(start, tmp_path):
    process = start(*ENDLESS)
    os.kill(loader_at_work(process, tmp_path), signal.SIGKILL)

    status, errors = ended(process, tmp_path)

    assert status == 2
    assert "error: a loader process ended (" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("begun", [".images.part/val", ".train.beton.part"])
def test_a_killed_command_that_writes_data(start, tmp_path, begun):
    pytest.importorskip("ffcv")
    sizes = ("num_train=1200", "num_val=400", "num_classes=2", "size=64", "num_workers=2")
    process = start("data-synthetic", f"images={tmp_path}/images", f"out={tmp_path}", *sizes)
    wait_until(lambda: (tmp_path / begun).exists() or process.exitcode is not None)
    process.kill()

    assert ended(process, tmp_path)[0] == -9
    assert not (tmp_path / "train.beton").exists()


def test_too_little_shared_memory_is_said(tmp_path):
    in_private = ["unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run([*in_private, mount], check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    words = [*WORDS, f"runs_dir={tmp_path}", "training.num_steps=12"]

    result = subprocess.run(
        [*in_private, f'{mount} && exec "$@"', "sh",
         sys.executable, "-m", "lightning_sparse.cli.main", *words, "batch_size=1024"],
        capture_output=True, text=True, timeout=2 * SECONDS, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    assert result.returncode == 2, result.stderr
    assert "shared memory (/dev/shm, 0 MB" in result.stderr
    assert result.stderr.count("\n") == 1
