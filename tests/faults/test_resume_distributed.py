"""Runs on several ranks that are stopped and killed, one process each.

Lightning starts them where it matters who stops whom. Elsewhere they are forked, as a scheduler
would start them, from a process that has imported everything, which is what takes time. With gloo
on the CPU; where there are GPUs with NCCL too, one and two ranks on as many GPUs.
"""

import contextlib
import functools
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.faults import interrupted
from tests.faults.comparison import differences
from tests.faults.findings import IS_WHOLE, note
from tests.faults.interrupted import planned

pytestmark = [pytest.mark.faults, pytest.mark.dist]
slow = pytest.mark.slow_faults

# When one rank dies, the others must be gone after so many seconds, and the job must have failed.
SECONDS_TO_STOP = 120

SETTINGS = (
    "data=synthetic", "+data.size=8", "+data.num_train=100", "+data.num_test=12",
    "+data.num_classes=3", "model.widths=[16,32,64]", "batch_size=4", "evaluation.batch_size=16",
    "training.num_steps=40", "training.learning_rate=0.1", "pruning.start_step=3",
    "pruning.end_step=25", "pruning.update_every=2", "sparsity=0.8", "seed=5",
    "path.training.num_steps=30", "path.training.learning_rate=0.1", "evaluation.num_points=8",
    "evaluation.num_recalibration_images=32", "evaluation.recalibration_batch_size=16",
    "evaluation.max_refinements=0", "+trainer.strategy=ddp", "checkpoint.keep=true",
    "checkpoint.every_seconds=0.000001", "checkpoint.largest_share=1.0", "runs_dir=.",
)  # fmt: skip

PRUNE = ("train", ("method=prune",))
DENSE = ("train", ("method=dense",))
CURVE = (
    "path",
    ("path.start=dense:start", "path.end=dense:end", "curve=quadratic", "path.space=dense"),
)


def words(num_ranks, of):
    kind, overrides = of
    return kind, (*SETTINGS, *overrides, f"trainer.devices={num_ranks}")


@functools.cache
def job(num_ranks, of):
    """Plan a run, whose folder is where its ranks stand; to compose takes longer than to train."""
    return planned(*words(num_ranks, of))


def start(runs_dir, num_ranks, of, *, step=0, name="SIGKILL", rank=0):
    """Start a run on so many ranks, of which ``rank`` signals itself after ``step``."""
    runs_dir.mkdir(exist_ok=True)
    kind, overrides = words(num_ranks, of)
    return subprocess.Popen(
        [sys.executable, interrupted.__file__, kind, str(step), name, str(rank), *overrides],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        cwd=runs_dir,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process) -> tuple[int, str]:
    """Wait for the first rank and all others; return its exit status and what was said."""
    try:
        _, errors = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("hangs")
    return process.returncode, errors


def make(runs_dir, num_ranks, of, **interruption) -> tuple[int, str]:
    return finish(start(runs_dir, num_ranks, of, **interruption))


def run_dir(runs_dir, num_ranks, of) -> Path:
    return Path(runs_dir) / job(num_ranks, of).run_id


def test_a_signal_to_one_rank_stops_all_and_the_run_goes_on_to_the_same_bits(straight, tmp_path):
    # After a vote and before the next, inside an epoch and in the middle of pruning.
    status, errors = make(tmp_path, 2, PRUNE, step=13, name="SIGUSR1", rank=1)
    cut = run_dir(tmp_path, 2, PRUNE)

    assert status == 75, errors
    assert (cut / "checkpoints/step_20").is_dir()

    assert make_forked(tmp_path, 2, PRUNE) == [0, 0]
    different = differences(run_dir(straight, 2, PRUNE), cut)
    note(test="2 ranks", of="train", step=13, signal="SIGUSR1", differences=different)
    assert different == []


def test_another_number_of_ranks_is_another_run(tmp_path):
    # What a checkpoint written by hand into its folder meets stands in tests/data/test_loader.py.
    assert run_dir(tmp_path, 2, PRUNE) != run_dir(tmp_path, 1, PRUNE)


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_rank(folder, rank, num_ranks, port, *arguments) -> None:
    os.chdir(folder)
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0", LOCAL_RANK=str(rank),
        WORLD_SIZE=str(num_ranks), OMP_NUM_THREADS="1",
    )  # fmt: skip
    torch.set_num_threads(1)
    work, step, name = arguments
    os._exit(interrupted.run_planned(lambda: work, step, name))


def make_forked(runs_dir, num_ranks, of, *, step=0, name="SIGKILL") -> list[int | None]:
    """Run forked ranks, of which the first signals itself after ``step``; return their statuses.

    Of those that wait for one that was killed, whatever a scheduler does, nothing is asked.
    """
    work, port = job(num_ranks, of), free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.interrupted"])
    ranks = [
        context.Process(target=run_rank, args=(runs_dir, rank, num_ranks, port, work, step, name))
        for rank in range(num_ranks)
    ]
    for rank in ranks:
        rank.start()
    try:
        ranks[0].join(timeout=600)
        if ranks[0].exitcode != -signal.SIGKILL:
            for rank in ranks:
                rank.join(timeout=300)
        return [rank.exitcode for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A pruned run on two ranks that nothing disturbed."""
    runs_dir = tmp_path_factory.mktemp("straight")
    assert make_forked(runs_dir, 2, PRUNE) == [0, 0]
    return runs_dir


@pytest.fixture(scope="module")
def undisturbed(request, tmp_path_factory):
    """A number of ranks, and all runs that so many make, which nothing disturbs."""
    runs_dir = tmp_path_factory.mktemp("undisturbed")
    for of in (PRUNE, DENSE, CURVE):
        assert make_forked(runs_dir, request.param, of) == [0] * request.param
    return request.param, runs_dir


# By what a number of ranks is interrupted where not everything is asked for: each with each kind
# of run, each number with each of both.
OF_TWO = {("prune", "SIGTERM"), ("curve", "SIGKILL")}
INTERRUPTIONS = [
    (num_ranks, kind, name)
    for num_ranks in (2, 4)
    for kind in ("prune", "curve")
    for name in ("SIGTERM", "SIGKILL")
    if IS_WHOLE or ((kind, name) in OF_TWO) == (num_ranks == 2)
]


@slow
@pytest.mark.parametrize(("undisturbed", "kind", "name"), INTERRUPTIONS, indirect=["undisturbed"])
def test_any_number_of_ranks_resumes_to_the_same_bits(undisturbed, tmp_path, kind, name):
    num_ranks, straight_dir = undisturbed
    of = {"prune": PRUNE, "curve": CURVE}[kind]
    if of is CURVE:
        needed = run_dir(straight_dir, num_ranks, DENSE)
        shutil.copytree(needed, tmp_path / needed.name)

    first, *others = make_forked(tmp_path, num_ranks, of, step=23, name=name)
    assert first == (75 if name == "SIGTERM" else -signal.SIGKILL)
    # Lightning would kill the first rank if one of the others failed.
    assert name == "SIGKILL" or others == [0] * (num_ranks - 1)
    assert not (run_dir(tmp_path, num_ranks, of) / "record.json").exists()
    assert make_forked(tmp_path, num_ranks, of) == [0] * num_ranks

    one, other = (run_dir(folder, num_ranks, of) for folder in (straight_dir, tmp_path))
    different = differences(one, other)
    note(test=f"{num_ranks} ranks", of=of[0], step=23, signal=name, differences=different)
    assert different == []


@pytest.mark.gpu
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_ranks_on_gpus_resume_to_the_same_bits(tmp_path, num_ranks):
    there = torch.cuda.device_count()
    if there < num_ranks:
        pytest.skip(f"needs {num_ranks} GPUs, one for each rank, and there are {there}")
    on_gpus = ("train", ("method=prune", "trainer.accelerator=gpu"))
    assert make(tmp_path / "straight", num_ranks, on_gpus)[0] == 0

    status, errors = make(tmp_path / "cut", num_ranks, on_gpus, step=23, name="SIGTERM")
    assert status == 75, errors
    assert make(tmp_path / "cut", num_ranks, on_gpus)[0] == 0

    one, other = (run_dir(tmp_path / name, num_ranks, on_gpus) for name in ("straight", "cut"))
    different = differences(one, other)
    note(
        test=f"{num_ranks} ranks, NCCL",
        of="train",
        step=23,
        signal="SIGTERM",
        differences=different,
    )
    assert different == []


@slow
@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_rank_dies_the_others_stop_and_the_job_fails(straight, tmp_path, rank):
    process = start(tmp_path, 2, PRUNE, step=23, rank=rank)
    status, _ = finish(process)
    ended = time.monotonic()
    while _is_alive(process.pid):
        assert time.monotonic() - ended < SECONDS_TO_STOP, "a rank lives on"
        time.sleep(0.2)

    assert status != 0
    assert not (run_dir(tmp_path, 2, PRUNE) / "record.json").exists()
    assert make_forked(tmp_path, 2, PRUNE) == [0, 0]
    assert differences(run_dir(straight, 2, PRUNE), run_dir(tmp_path, 2, PRUNE)) == []


def _is_alive(group: int) -> bool:
    """Whether any process of the group is there that is not merely waiting to be reaped."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False
