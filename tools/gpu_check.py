"""What a machine with a GPU can tell of this project, in at most eight minutes: `make gpu-check`.

Stages run one after the other, each a command that is printed and can be typed by itself: the tests
that need a GPU; `reproduce` of both ImageNet experiments, cut to a few steps, from painted .beton
files; and `make bench-gpu` in the time that is left. A stage that fails or takes longer than it may
stops no other one. Under results/ are left: a line per stage, the records of both experiments, and
those of the benchmarks. With ``--tiny`` the same code is walked on a CPU, where times mean nothing.
"""

import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

SECONDS = 480
"""All stages together, unless ``--seconds`` says otherwise."""

STAGES_FILE = "stages.jsonl"
_SECONDS_TO_STOP = 10
# A CPU that walks through in a minute may have other work.
_TINY_STRETCH = 8
_PROVENANCE = (
    "import json; from lightning_sparse.training.provenance import provenance; "
    "print(json.dumps(provenance()))"
)
_OK: Mapping[int, str] = {0: "ok"}
# What the benchmarks say where a claim does not hold, or no time was left, is a finding.
_MEASURED: Mapping[int, str] = {0: "ok, every claim holds", 1: "ok, not every claim holds"}

_FAILED, _USER_ERROR = 1, 2


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command.

    Attributes:
        name: For the table at the end.
        command: What is run, from the repository's root.
        seconds: When they are over, it is stopped, and has failed.
        outcomes: Exit statuses that are no failure, in words.
    """

    name: str
    command: Sequence[str]
    seconds: float
    outcomes: Mapping[int, str] = field(default_factory=lambda: _OK)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A stage that has been run: how long it took, what became of it, and its exit status."""

    stage: Stage
    seconds: float
    outcome: str
    status: int | None

    @property
    def is_fine(self) -> bool:
        """Whether it did what it should."""
        return self.status in self.stage.outcomes


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Where everything goes, and how large it is.

    Attributes:
        results: Folder of the records that are left.
        work: Folder of what is made on the way: images, runs.
        is_tiny: Whether a CPU only walks through.
        until: When all must be over, on the clock of `time.monotonic`.
        left_out: Names of stages that are not run.
    """

    results: Path
    work: Path
    is_tiny: bool
    until: float
    left_out: Sequence[str] = ()

    def seconds(self, most: float) -> float:
        """Return how long a stage may take that may take ``most``: no longer than is left."""
        stretched = most * (_TINY_STRETCH if self.is_tiny else 1)
        return max(1.0, min(stretched, self.until - time.monotonic() - _SECONDS_TO_STOP))

    def choose(self, full: Sequence[str], tiny: Sequence[str]) -> Sequence[str]:
        """Return the words of a command in one of two sizes."""
        return tiny if self.is_tiny else full


def stages(walk: Walk) -> Iterator[Stage]:
    """Yield the stages; what one may take is decided when its turn has come."""
    yield Stage(name="paint", command=_paint(walk), seconds=walk.seconds(60))
    yield Stage(name="gpu tests", command=_tests(walk), seconds=walk.seconds(90))
    for experiment, most in (("imagenet_small", 90), ("imagenet", 170)):
        yield Stage(
            name=f"reproduce {experiment}",
            command=_reproduce(walk, experiment),
            seconds=walk.seconds(most),
        )
    seconds = walk.seconds(SECONDS)
    yield Stage(
        name="benchmarks", command=_bench(walk, seconds), seconds=seconds, outcomes=_MEASURED
    )


def _paint(walk: Walk) -> list[str]:
    size = walk.choose(
        ["num_train=1024", "num_val=256", "size=256"], ["num_train=64", "num_val=16", "size=48"]
    )
    return _program("data-synthetic", f"images={walk.work}/images", f"out={walk.work}/beton", *size)


def _tests(walk: Walk) -> list[str]:
    """Name the files that have such tests: collecting all others takes longer than running these.

    Without a GPU they are skipped, each with its reason.
    """
    files = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    marked = [
        str(file.relative_to(REPOSITORY))
        for file in files
        if "pytest.mark.gpu" in file.read_text(encoding="utf-8")
    ]
    # Most of them wait for processes that they start; to be skipped, each process would import what
    # tests need. Of foreign plugins, one warns of the other.
    number = walk.choose(["-n", "8"], ["-n", "0"])
    several = number if importlib.util.find_spec("xdist") else []
    return [
        sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:benchmark", "-p",
        "no:cacheprovider", *several, *marked,
    ]  # fmt: skip


_CUT = (
    "reproduce.seeds=[11]", "reproduce.sparsities=[]", "reproduce.control_sparsity=null",
    "reproduce.claims=[C,C1,'control: dense',D3]",
    "pruning.start_step=1", "pruning.end_step=3", "pruning.update_every=1",
    "path.training.num_steps=3", "evaluation.num_points=8", "evaluation.points_at_once=8",
    "evaluation.max_refinements=0", "data=imagenet_ffcv", "num_workers=2",
)  # fmt: skip

_ON_GPU = ("trainer.accelerator=gpu", "trainer.devices=1", "training.num_steps=8")
_ON_CPU = (
    "trainer.accelerator=cpu", "trainer.devices=1", "training.num_steps=4",
    "reproduce.num_processes=1", "data.size=32", "data.resize=36", "batch_size=8",
    "global_batch_size=16", "evaluation.batch_size=16", "evaluation.train_subset_size=16",
    "evaluation.num_recalibration_images=16", "evaluation.recalibration_batch_size=8",
)  # fmt: skip

# As its file says, but for sizes; on a CPU neither ResNet-50 nor the compiler is for a minute.
_SIZES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "imagenet_small": (("data.size=32", "data.resize=36"), ()),
    "imagenet": (
        (
            "batch_size=64", "global_batch_size=128", "evaluation.batch_size=128",
            "evaluation.train_subset_size=256", "evaluation.num_recalibration_images=256",
            "evaluation.recalibration_batch_size=128",
        ),
        ("model=resnet_small", "model.width_multiplier=0.0625", "compile=null"),
    ),
}  # fmt: skip


def _reproduce(walk: Walk, experiment: str) -> list[str]:
    full, tiny = _SIZES[experiment]
    return _program(
        "reproduce", f"experiment={experiment}", *_CUT,
        *walk.choose([*_ON_GPU, *full], [*_ON_CPU, *tiny]),
        f"data.root={walk.work}/beton", f"data.image_root={walk.work}/images",
        f"runs_dir={walk.work}/runs", f"reproduce.dir={experiment}",
    )  # fmt: skip


def _bench(walk: Walk, seconds: float) -> list[str]:
    size = walk.choose(
        # What it measures when its time is over is measured to the end.
        ["--budget", "0.25", "--seconds", f"{max(1.0, seconds - 60):.0f}"],
        ["mask_update", "gpu_precision", "--tiny", "--budget", "0"],
    )
    results = ["--results", str(walk.results / "benchmarks")]
    return [sys.executable, "-m", "benchmarks", "run", "--accelerator", *size, *results]


def _program(*words: str) -> list[str]:
    return [sys.executable, "-m", "lightning_sparse.cli.main", *words]


def run(stage: Stage) -> Ended:
    """Run a stage, say what it is and what became of it, and leave no process behind."""
    say(f"\n== {stage.name}, at most {stage.seconds:.0f} s\n{shlex.join(stage.command)}")
    started = time.monotonic()
    process = subprocess.Popen(stage.command, cwd=REPOSITORY, start_new_session=True)
    try:
        status = process.wait(stage.seconds)
        outcome = stage.outcomes.get(status, f"failed with exit status {status}")
    except subprocess.TimeoutExpired:
        status, outcome = None, f"stopped after its {stage.seconds:.0f} s"
    finally:
        _stop(process)
    ended = Ended(stage=stage, seconds=time.monotonic() - started, outcome=outcome, status=status)
    say(f"== {stage.name}: {outcome}, {ended.seconds:.1f} s")
    return ended


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the command with all that it started: kindly first, so that it can clean up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_STOP)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def machine() -> dict[str, Any]:
    """Ask the interpreter that runs the stages for versions and hardware.

    Raises:
        OSError: If what is needed cannot be imported there.
    """
    command = [sys.executable, "-c", _PROVENANCE]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{sys.executable} cannot run this project:\n{done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def keep(walk: Walk, ended: Ended, origin: Mapping[str, Any]) -> None:
    """Leave a line on the stage, and the records that it made, under the folder of results."""
    folder = walk.results / "gpu_check"
    folder.mkdir(parents=True, exist_ok=True)
    line = {
        "stage": ended.stage.name,
        "command": list(ended.stage.command),
        "at_most_seconds": ended.stage.seconds,
        "seconds": round(ended.seconds, 1),
        "outcome": ended.outcome,
        "provenance": origin,
    }
    with (folder / STAGES_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    if ended.is_fine and ended.stage.name.startswith("reproduce "):
        experiment = ended.stage.name.removeprefix("reproduce ")
        records = walk.work / "runs" / experiment / "records.jsonl"
        shutil.copyfile(records, folder / f"{experiment}.jsonl")


def say(text: str) -> None:
    """Print at once, in order with what the stages print."""
    print(text, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run all stages; the exit status is 0 if none failed, 1 if one did, 2 where none can run."""
    options = _parser().parse_args(words)
    name = "gpu_check_tiny" if options.tiny else "gpu_check"
    work = REPOSITORY / "runs" / name if options.work is None else options.work.absolute()
    default = work / "results" if options.tiny else REPOSITORY / "results"
    walk = Walk(
        results=default if options.results is None else options.results.absolute(),
        work=work,
        is_tiny=options.tiny,
        until=time.monotonic() + options.seconds * (_TINY_STRETCH if options.tiny else 1),
        left_out=tuple(options.leave_out),
    )
    try:
        origin = machine()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return _USER_ERROR
    if origin["accelerator"] is None and not walk.is_tiny:
        print(
            "error: PyTorch finds no CUDA device here; `make gpu-check TINY=1` walks through on a "
            "CPU",
            file=sys.stderr,
        )
        return _USER_ERROR
    return _walk_through(walk, origin)


def _walk_through(walk: Walk, origin: Mapping[str, Any]) -> int:
    versions = ", ".join(f"{key} {value}" for key, value in origin["versions"].items())
    say(f"{origin['accelerator'] or origin['processor']}; Python {origin['python']}, {versions}")
    # What an earlier check finished would not be run again.
    shutil.rmtree(walk.work, ignore_errors=True)
    session = {
        **origin, "session": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    }  # fmt: skip
    all_ended = []
    for stage in stages(walk):
        if stage.name in walk.left_out:
            continue
        all_ended.append(run(stage))
        keep(walk, all_ended[-1], session)
    say("\nstage, seconds, outcome")
    for ended in all_ended:
        say(f"  {ended.stage.name:<26}{ended.seconds:6.1f}  {ended.outcome}")
    say(f"records: {walk.results}")
    return 0 if all(ended.is_fine for ended in all_ended) else _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/gpu_check.py", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--tiny", action="store_true", help="walk the same code on a CPU")
    parser.add_argument("--results", type=Path, help="folder of the records that are left")
    parser.add_argument("--work", type=Path, help="folder of images and runs; emptied first")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="all stages together")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="STAGE", help="stages that are not run"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
