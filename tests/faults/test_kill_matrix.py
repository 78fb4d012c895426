"""Every arm and every curve, killed and stopped at random steps, ends with the same bits.

The processes are real; they are forked from one that has imported everything, and given a job that
was planned before, since importing and composing are what takes time. In which folder runs are made
is where the process stands.
"""

import functools
import importlib.util
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from lightning_sparse.files.tensor_files import load_tensors, save_tensors
from lightning_sparse.pipeline.jobs import Job, with_needs
from lightning_sparse.settings.shipped import CONF_DIR
from tests.faults.comparison import differences, record_of
from tests.faults.findings import IS_ASKED, IS_WHOLE, note
from tests.faults.interrupted import OTHER_CROPS, planned, run_planned

pytestmark = pytest.mark.faults

NUM_STEPS = 24
NUM_TRAIN, BATCH_SIZE = 40, 8
STEPS_PER_EPOCH = NUM_TRAIN // BATCH_SIZE
FIRST_PRUNING, LAST_PRUNING = 6, 16
SYNTHETIC = (
    "data=synthetic", "+data.size=8", f"+data.num_train={NUM_TRAIN}", "+data.num_test=12",
    "+data.num_classes=3",
)  # fmt: skip
# Read by FFCV alone, since there are no image files; each step takes two batches of half the size.
FFCV = (
    "data=imagenet_ffcv", "data.size=8", "data.resize=10", "data.root={betons}",
    "data.image_root=nowhere", "batch_size=4", "global_batch_size=8",
)  # fmt: skip
SETTINGS = (
    "model.widths=[4,6]", f"batch_size={BATCH_SIZE}", "evaluation.batch_size=16",
    f"training.num_steps={NUM_STEPS}", "training.learning_rate=0.1",
    f"pruning.start_step={FIRST_PRUNING}", f"pruning.end_step={LAST_PRUNING}",
    "pruning.update_every=2", "sparsity=0.75", "seed=5", "evaluation.num_points=8",
    "evaluation.num_recalibration_images=32", "evaluation.recalibration_batch_size=16",
    "evaluation.max_refinements=0", "checkpoint.keep=true", "checkpoint.every_seconds=0.000001",
    "checkpoint.largest_share=1.0", "runs_dir=.",
)  # fmt: skip
# Said of paths alone, as nothing of it is said of a run that a path or an arm needs: whoever makes
# such a run first, its record is the same.
OF_PATHS = (f"path.training.num_steps={NUM_STEPS}", "path.training.learning_rate=0.1")

ON_GPU = (*SYNTHETIC, "trainer.accelerator=gpu")

ARMS = sorted(file.stem for file in (CONF_DIR / "method").glob("*.yaml"))
# Killed in the fast half too: the published arms, and one that reads gradients.
FAST_ARMS = {"dense", "lottery", "prune", "rigl", "scratch"}
SLOW_ARMS = {*ARMS} - FAST_ARMS
RUNS = {
    **{f"arm {name}": ("train", (*SYNTHETIC, f"method={name}")) for name in ARMS},
    "curve in the mask": ("path", (*SYNTHETIC, "curve=quadratic", "path.space=end_mask")),
    "curve in dense space": ("path", (*SYNTHETIC, "curve=cubic", "path.space=dense")),
    "arm prune, FFCV": ("train", (*FFCV, "method=prune")),
    "curve in the mask, FFCV": ("path", (*FFCV, "path.start=dense:end", "curve=quadratic")),
}
RUNS_ON_GPU = {
    "arm prune, GPU": ("train", (*ON_GPU, "method=prune")),
    "curve in dense space, GPU": ("path", (*ON_GPU, "path.start=dense:end", "path.space=dense")),
}
ALL_RUNS = {**RUNS, **RUNS_ON_GPU}


def kind_of(arm: str) -> frozenset[str]:
    """The classes that an arm is made of: what its checkpoints hold is what these keep."""
    text = (CONF_DIR / "method" / f"{arm}.yaml").read_text(encoding="utf-8")
    return frozenset(re.findall(r"_target_: (\S+)", text))


def one_of_each_kind() -> Iterator[str]:
    """Yield of the slow arms the first of every kind that no fast one is of."""
    seen = {kind_of(arm) for arm in FAST_ARMS}
    for arm in sorted(SLOW_ARMS):
        if (kind := kind_of(arm)) not in seen:
            yield arm
            seen.add(kind)


def random_steps(name: str) -> list[int]:
    """Draw five steps, no two alike, one from each of these."""
    draw = random.Random(name)
    before_pruning = range(1, FIRST_PRUNING)
    during = range(FIRST_PRUNING, LAST_PRUNING)
    after = range(LAST_PRUNING, NUM_STEPS)
    ends_of_epochs = range(STEPS_PER_EPOCH, NUM_STEPS, STEPS_PER_EPOCH)
    anywhere = range(1, NUM_STEPS + 1)
    steps: list[int] = []
    for choice in (before_pruning, during, after, ends_of_epochs, anywhere):
        steps.append(draw.choice([step for step in choice if step not in steps]))
    return steps


def is_slow(name: str) -> bool:
    """Whether it is an arm that is killed in full for the page alone."""
    return name.removeprefix("arm ") in SLOW_ARMS


FEW = {(0, "SIGTERM"), (1, "SIGUSR1"), (3, "SIGKILL"), (4, "SIGKILL")}
OF_SLOW = {(1, "SIGKILL")}
"""Of ten interruptions of a run, those that are tried where the page is not asked for."""


def cases(*, everything):
    """List all interruptions, or a few; of slow arms one alone: killed while masks change.

    Where it is not asked for all arms, one of each kind is interrupted.
    """
    left_out = set() if everything or IS_WHOLE else SLOW_ARMS - {*one_of_each_kind()}
    return [
        pytest.param(
            name, step, signal_name,
            marks=[] if (number, signal_name) in {(1, "SIGUSR1"), (3, "SIGKILL")}
            and not is_slow(name)
            else [pytest.mark.slow_faults],
            id=f"{name}-{signal_name}-{number}",
        )
        for name in RUNS
        if name.removeprefix("arm ") not in left_out
        for number, step in enumerate(random_steps(name))
        for signal_name in (("SIGTERM", "SIGUSR1")[number % 2], "SIGKILL")
        if everything or (number, signal_name) in (OF_SLOW if is_slow(name) else FEW)
    ]  # fmt: skip


CASES = cases(everything=IS_ASKED)
CASES_ON_GPU = [
    pytest.param(name, step, signal_name, marks=pytest.mark.gpu, id=f"{name}-{signal_name}")
    for name in RUNS_ON_GPU
    for step, signal_name in zip(random_steps(name)[1:3], ("SIGUSR1", "SIGKILL"), strict=True)
]


job_of = functools.cache(planned)


def in_a_process(folder: Path, job: Job, step: int, name: str) -> int | None:
    """Run `interrupted.run_planned` in a process of its own there; return its exit status."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.interrupted"])
    process = context.Process(target=_exit_with, args=(folder, job, step, name))
    process.start()
    process.join(timeout=600)
    if process.is_alive():
        process.kill()
        pytest.fail("a run of 24 steps took more than ten minutes")
    return process.exitcode


def _exit_with(folder: Path, job: Job, step: int, name: str) -> None:
    os.chdir(folder)
    os._exit(run_planned(lambda: job, step, name))


@pytest.fixture(scope="module")
def betons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images larger than what is seen of them, so that every crop is another."""
    if importlib.util.find_spec("ffcv") is None and not os.environ.get("CI"):
        pytest.skip("no FFCV: make setup")
    folder = tmp_path_factory.mktemp("betons")
    words = [
        "data-synthetic", f"images={folder}/images", f"out={folder}", "num_classes=3", "size=24",
        f"num_train={NUM_TRAIN}", "num_val=12", "mode=raw", "num_workers=1",
    ]  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "lightning_sparse.cli.main", *words], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def planned_run(request: pytest.FixtureRequest) -> Callable[[str], Job]:
    """Plan a run of the matrix, of which some need files; nobody plans it again."""

    def job(name: str) -> Job:
        kind, overrides = ALL_RUNS[name]
        own = OF_PATHS if kind == "path" else ()
        return job_of(kind, (*SETTINGS, *own, *_with_betons(overrides, request)))

    return job


def _with_betons(overrides: Iterable[str], request: pytest.FixtureRequest) -> list[str]:
    return [
        word.format(betons=request.getfixturevalue("betons")) if "{betons}" in word else word
        for word in overrides
    ]


@pytest.fixture(scope="module")
def straight_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs that nothing disturbed; `straight_run` adds them."""
    return tmp_path_factory.mktemp("straight")


@pytest.fixture
def straight_run(straight_dir: Path, planned_run: Callable[[str], Job]) -> Callable[[str], Path]:
    """Return the folder of a run that nothing disturbed, made where it is asked for first."""

    def made(name: str) -> Path:
        job = planned_run(name)
        run_dir = straight_dir / job.run_id
        if not (run_dir / "record.json").exists():
            assert in_a_process(straight_dir, job, 0, "SIGKILL") == 0
        return run_dir

    return made


def copy_needs(straight_dir: Path, runs_dir: Path, job: Job) -> None:
    """Give a run what it needs."""
    for needed in with_needs(job.needs):
        shutil.copytree(straight_dir / needed.run_id, runs_dir / needed.run_id)


@pytest.mark.parametrize(("name", "step", "signal_name"), [*CASES, *CASES_ON_GPU])
def test_an_interrupted_run_ends_with_the_bits_of_the_straight_one(
    straight_run, planned_run, tmp_path, name, step, signal_name
):
    job = planned_run(name)
    straight = straight_run(name)
    run_id = job.run_id
    copy_needs(straight.parent, tmp_path, job)

    first = in_a_process(tmp_path, job, step, signal_name)
    assert first == (-signal.SIGKILL if signal_name == "SIGKILL" else 75)
    assert not (tmp_path / run_id / "record.json").exists()
    assert in_a_process(tmp_path, job, 0, "SIGKILL") == 0

    different = differences(straight, tmp_path / run_id)
    note(test="kill matrix", of=name, step=step, signal=signal_name, differences=different)
    assert different == []
    provenance = json.loads((tmp_path / run_id / "record.json").read_text())["provenance"]
    # Killed at its first step, a run has no checkpoint yet and begins again.
    assert provenance["num_resumed"] == (0 if (step, signal_name) == (1, "SIGKILL") else 1)


# What is measured, what is there before, and when it is killed. A line reports each round in which
# its grid is refined, and the grid itself; the spectra of a curve each of their three points.
MEASURED = {
    "line": (
        ("curve=line", "evaluation.max_refinements=6"),
        ("arm prune", "arm scratch"),
        0,
    ),
    "spectra": (
        (
            *OF_PATHS, "curve=quadratic", "path.space=end_mask",
            "path.spectrum=hessian_inside", "path.num_probes=2", "path.num_lanczos_steps=3",
        ),
        ("arm prune", "arm scratch", "curve in the mask"),
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_a_path_that_is_killed_while_it_is_measured_is_measured_again(
    straight_dir, straight_run, tmp_path, name
):
    words, needed, killed_after = MEASURED[name]
    job = job_of("path", (*SETTINGS, *SYNTHETIC, *words))
    for need in needed:
        straight_run(need)

    def measure(folder, after, status):
        runs_dir = tmp_path / folder
        if not runs_dir.exists():
            runs_dir.mkdir()
            copy_needs(straight_dir, runs_dir, job)
        assert in_a_process(runs_dir, job, after, "SIGKILL") == status
        return runs_dir / job.run_id

    no_step = -1
    undisturbed = measure("undisturbed", no_step, 0)
    killed = measure("killed", killed_after, -signal.SIGKILL)
    assert not (killed / "record.json").exists()
    assert measure("killed", no_step, 0) == killed

    different = record_of(killed) != record_of(undisturbed)
    note(
        test="kill while measured", of=name, step=killed_after, signal="SIGKILL",
        differences=different,
    )  # fmt: skip
    assert not different


def test_every_arm_is_in_the_matrix_and_interrupted_at_five_steps():
    assert {f"arm {name}" for name in ARMS} <= set(RUNS)
    assert {"dense", "lottery", "prune", "scratch"} <= set(ARMS)
    listed = [case.values for case in cases(everything=True)]
    steps_of = {name: {step for of, step, _ in listed if of == name} for name in RUNS}
    assert {name: len(steps) for name, steps in steps_of.items()} == dict.fromkeys(RUNS, 5)


def test_one_arm_of_every_kind_is_interrupted_wherever_tests_run():
    names = {case.values[0] for case in CASES}
    assert {*RUNS} - names <= {f"arm {name}" for name in SLOW_ARMS}
    killed = {kind_of(arm) for arm in ARMS if f"arm {arm}" in names}
    assert killed == {kind_of(arm) for arm in ARMS}


def test_the_comparison_sees_one_bit(straight_run, tmp_path):
    straight = straight_run("arm prune")
    copy = shutil.copytree(straight, tmp_path / straight.name)
    assert differences(straight, copy) == []
    weights = load_tensors(copy / "weights.safetensors")
    weight = next(item for item in weights.values() if not item.all())
    entries = weight.view(-1)
    # A zero of the other sign.
    entries[int((entries == 0).nonzero()[0])] *= -1

    save_tensors(weights, copy / "weights.safetensors")

    assert differences(straight, copy) == ["weights.safetensors"]


def test_the_comparison_sees_a_run_that_took_another_step(straight_run, tmp_path):
    longer = f"training.num_steps={NUM_STEPS + 1}"
    other = job_of("train", (*SETTINGS, *SYNTHETIC, "method=dense", longer))
    assert in_a_process(tmp_path, other, 0, "SIGKILL") == 0

    different = differences(straight_run("arm dense"), tmp_path / other.run_id)

    assert {"weights.safetensors", "record.json"} <= set(different)
    assert any(name.endswith("momentum_buffer") for name in different)


def test_the_comparison_sees_pixels_that_differ_after_a_resume(straight_run, planned_run, tmp_path):
    """A reader that crops by its own generator gives other weights, though all else is the same."""
    job, straight = (make("arm prune, FFCV") for make in (planned_run, straight_run))
    assert in_a_process(tmp_path, job, 12, "SIGKILL") == -signal.SIGKILL
    assert in_a_process(tmp_path, job, 0, OTHER_CROPS) == 0

    different = differences(straight, tmp_path / job.run_id)

    assert {"weights.safetensors", "history.jsonl", "record.json"} <= set(different)
    assert not [name for name in different if name.startswith("/loader")]
