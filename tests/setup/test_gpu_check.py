"""The check of a machine with a GPU: its stages in small, and what becomes of those that fail."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.records import read_records as read_benchmarks
from lightning_sparse.planning.reproduce import plan_all
from lightning_sparse.records import PathRecord, RunRecord, read_records
from lightning_sparse.settings.compose import compose_settings
from tools import gpu_check
from tools.gpu_check import Stage

REPOSITORY = Path(__file__).parents[2]
ORIGIN = {"accelerator": "a GPU", "python": "3", "versions": {"torch": "2"}}


def stage(name, code, seconds=60.0):
    return Stage(name=name, command=[sys.executable, "-c", code], seconds=seconds)


def check(stages, tmp_path, monkeypatch, *words, origin=ORIGIN):
    """Run given stages as the check does; return its exit status and the lines it leaves."""
    monkeypatch.setattr(gpu_check, "machine", lambda: origin)
    monkeypatch.setattr(gpu_check, "stages", lambda _: iter(stages))
    places = ("--work", str(tmp_path / "work"), "--results", str(tmp_path / "results"))
    status = gpu_check.main([*places, *words])
    file = tmp_path / "results" / "gpu_check" / gpu_check.STAGES_FILE
    lines = file.read_text().splitlines() if file.exists() else []
    return status, [json.loads(line) for line in lines]


def test_a_stage_that_fails_stops_no_other_and_the_check_fails_in_the_end(
    tmp_path, monkeypatch, capsys
):
    status, lines = check(
        [stage("bad", "raise SystemExit(3)"), stage("good", "pass")], tmp_path, monkeypatch
    )

    assert status == 1
    assert [(line["stage"], line["outcome"]) for line in lines] == [
        ("bad", "failed with exit status 3"), ("good", "ok"),
    ]  # fmt: skip
    assert lines[0]["provenance"]["accelerator"] == "a GPU"
    said = capsys.readouterr().out
    assert f"== bad, at most 60 s\n{sys.executable} -c 'raise SystemExit(3)'" in said
    assert said.splitlines()[-2].split() == ["good", f"{lines[1]['seconds']}", "ok"]


def has_ended(stat):
    """Its parent is gone; whoever has adopted it may not have reaped it yet."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_stage_that_takes_too_long_ends_with_all_that_it_started(tmp_path, monkeypatch):
    note = tmp_path / "child"
    code = (
        "import pathlib, subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(300)"
    )
    started = time.monotonic()

    status, lines = check([stage("slow", code, seconds=3.0)], tmp_path, monkeypatch)

    assert status == 1
    assert lines[0]["outcome"] == "stopped after its 3 s"
    assert time.monotonic() - started < 200
    deadline = time.monotonic() + 30
    # A signal that was sent takes effect when the kernel comes to it.
    while not has_ended(Path(f"/proc/{note.read_text()}/stat")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_stage_that_is_left_out_does_not_run(tmp_path, monkeypatch):
    stages = [stage("bad", "raise SystemExit(3)"), stage("good", "pass")]

    status, lines = check(stages, tmp_path, monkeypatch, "--leave-out", "bad")

    assert (status, [line["stage"] for line in lines]) == (0, ["good"])


def test_where_everything_is_fine_the_check_is(tmp_path, monkeypatch):
    assert check([stage("good", "pass")], tmp_path, monkeypatch)[0] == 0


def test_without_a_gpu_it_says_how_to_walk_through(tmp_path, monkeypatch, capsys):
    origin = {**ORIGIN, "accelerator": None}

    status, lines = check([stage("good", "pass")], tmp_path, monkeypatch, origin=origin)

    assert (status, lines) == (2, [])
    assert "PyTorch finds no CUDA device here; `make gpu-check TINY=1`" in capsys.readouterr().err


def test_an_interpreter_that_cannot_run_the_project_is_named(tmp_path, monkeypatch, capsys):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho no module named torch >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))

    assert gpu_check.main(["--work", str(tmp_path / "work")]) == 2

    assert f"{bare} cannot run this project:\nno module named torch" in capsys.readouterr().err


def test_the_time_of_all_stages_is_eight_minutes_at_most():
    walk = gpu_check.Walk(
        results=Path("r"), work=Path("w"), is_tiny=False, until=time.monotonic() + 100
    )

    assert walk.seconds(20) == 20
    assert 85 < walk.seconds(gpu_check.SECONDS) <= 90
    *_, last = gpu_check.stages(walk)
    assert last.seconds <= 90
    limit = last.command[last.command.index("--seconds") + 1]
    assert float(limit) < last.seconds


@pytest.mark.parametrize("experiment", ["imagenet_small", "imagenet"])
def test_what_a_gpu_reproduces_is_the_experiment_as_it_stands_but_for_its_sizes(experiment):
    walk = gpu_check.Walk(
        results=Path("r"), work=Path("w"), is_tiny=False, until=time.monotonic() + 1000
    )
    (stage,) = [one for one in gpu_check.stages(walk) if one.name == f"reproduce {experiment}"]

    settings = compose_settings(stage.command[4:])

    as_it_stands = compose_settings([f"experiment={experiment}"])
    for name in ("compile", "channels_last", "model", "deterministic"):
        assert getattr(settings, name) == getattr(as_it_stands, name)
    assert settings.trainer["precision"] == as_it_stands.trainer["precision"]
    assert settings.path.training.gradient_clip_norm == 1.0
    assert settings.data["root"] == "w/beton"
    assert len(plan_all(settings)) == 10


@pytest.mark.pipeline
def test_make_walks_through_on_a_cpu_with_the_interpreter_that_is_given(tmp_path):
    """Nothing is set up: neither is there an environment of its own, nor is pip or apt called."""
    inherited = ("MAKE", "MFLAGS", "ARGS", "TINY", "PYTHON")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(inherited)}
    done = subprocess.run(
        ["make", "--no-print-directory", "gpu-check", "TINY=1", f"ARGS=--work {tmp_path}"],
        cwd=REPOSITORY, env={**variables, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.startswith(f"{sys.executable} tools/gpu_check.py --tiny")
    assert "set-up:" not in done.stdout
    folder = tmp_path / "results" / "gpu_check"
    lines = [json.loads(line) for line in (folder / "stages.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == [
        "paint", "gpu tests", "reproduce imagenet_small", "reproduce imagenet", "benchmarks",
    ]  # fmt: skip
    assert all(line["outcome"].startswith("ok") for line in lines)
    for experiment in ("imagenet_small", "imagenet"):
        records = read_records(folder / f"{experiment}.jsonl")
        assert {type(record) for record in records} == {RunRecord, PathRecord}
        assert len(records) == 10
    (precision,) = [record for record in records if getattr(record, "method", "") == "lottery"]
    assert precision.config["trainer"]["precision"] == "bf16-mixed"
    rows = {
        record.row for record in read_benchmarks(tmp_path / "results/benchmarks/accelerator.jsonl")
    }
    assert rows == {"mask_update", "gpu_precision"}
