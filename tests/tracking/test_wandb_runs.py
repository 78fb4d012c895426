"""Runs and paths that are logged to W&B by the real client, seen from the server and from disk."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import PathRecord, read_record
from lightning_sparse.rises import barriers, largest_rise
from lightning_sparse.tracking.results import metrics
from lightning_sparse.tracking.tracker import TrackedRun
from tests.pipeline.fake_jobs import is_running, wait_until
from tests.tracking.conftest import environment, run_command, sparse
from tests.tracking.stand_in import StandIn

TRAIN = ("train", "experiment=smoke", "logger=wandb")

# One run in two processes, of which the first is stopped from outside, by two that say the same.
BEGIN_AND_GO_ON = """
import os, pathlib, signal, sys, threading, time
from lightning_sparse.process.preemption import ends_when_asked
from lightning_sparse.tracking.tracker import TrackedRun
from lightning_sparse.tracking.wandb_tracker import WandbSettings, WandbTracker

run = TrackedRun(
    run_id="a-run-seed1-00000000", kind="train", group="a-run", tags=("a",), config={"lr": 1},
    run_dir=pathlib.Path("runs/a"),
)
first, last, is_stopped = map(int, sys.argv[1:])

def ask_twice():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.03)

with ends_when_asked(), WandbTracker(run, WandbSettings(project="p"), print) as tracker:
    for step in range(first, last):
        tracker.log({"step": step, "batch_loss": 1 / step})
    if is_stopped:
        threading.Thread(target=ask_twice, daemon=True).start()
        time.sleep(60)
"""

# A process whose service has stopped answering when it ends.
STOP_ANSWERING = """
import os, pathlib, signal, sys
from lightning_sparse.execution.tracker_choice import require_server
from lightning_sparse.tracking import wandb_service

wandb_service._SECONDS = 2
require_server()
tasks = pathlib.Path("/proc/self/task")
(service,) = {file.read_text() for file in tasks.glob("*/children")} - {""}
os.kill(int(service), signal.SIGSTOP)
pathlib.Path("service").write_text(service)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def tracked_path(tmp_path_factory):
    """A curve and the two runs it needs, made with a server: its state, the folder, the output."""
    home = tmp_path_factory.mktemp("tracked")
    with StandIn() as server:
        output = run_command(
            *sparse("path", "experiment=smoke", "logger=wandb", "log_every_steps=4"),
            server=server,
            home=home,
        )
        yield server, home / "runs", output


def history_of(folder):
    file = folder / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_run_and_path_is_there_under_its_own_id_and_name_and_has_finished(tracked_path):
    server, runs_dir, output = tracked_path
    made = {folder.name for folder in runs_dir.iterdir()}
    assert len(made) == 3
    assert set(server.runs) == made
    for name, run in server.runs.items():
        assert (run.state, run.exit_code, run.project) == ("finished", 0, "lightning-sparse")
        assert run.display_name == name
        assert json.loads((runs_dir / name / "wandb.json").read_text())["id"] == name
        assert f"W&B: {server.url}/stand-in/lightning-sparse/runs/{name}\n" in output


def test_the_client_asked_nothing_that_the_server_could_not_answer(tracked_path):
    server, _, _ = tracked_path
    assert server.unknown == []
    assert "RunResumeStatus" in server.operations  # it is resumed if it is there


def test_groups_tags_and_job_types_let_seeds_be_averaged(tracked_path):
    server, _, _ = tracked_path
    seen = {(run.job_type, run.group, *run.tags) for run in server.runs.values()}
    curve = "smoke-S-end-to-P-end-degree2-end_mask-s0.9"
    assert seen == {
        ("train", "smoke-prune-s0.9", "smoke", "prune", "sparsity 0.9"),
        ("train", "smoke-scratch-s0.9", "smoke", "scratch", "sparsity 0.9"),
        ("path", curve, "smoke", "scratch:end to prune:end", "sparsity 0.9"),
    }


def test_the_history_is_the_one_on_disk_line_by_line(tracked_path):
    server, runs_dir, _ = tracked_path
    for name, run in server.runs.items():
        written = history_of(runs_dir / name)
        sent = [line for line in run.history if "train/batch_loss" in line]
        assert [line["trainer/global_step"] for line in sent] == [e["step"] for e in written]
        for line, entry in zip(sent, written, strict=True):
            expected = metrics(entry)
            assert {key: line[key] for key in expected} == pytest.approx(expected)
    trained = next(run for name, run in server.runs.items() if "prune" in name)
    assert {"train/measured_sparsity", "layer_sparsity/features.3.weight"} <= set(
        trained.history[0]
    )


def test_the_settings_and_the_commit_are_kept(tracked_path):
    server, runs_dir, _ = tracked_path
    for name, run in server.runs.items():
        record = read_record(runs_dir / name)
        assert run.config["run_id"] == name
        assert run.config["settings"] == record.config
        assert run.config["commit"] == record.provenance["commit"]
        assert "logger" not in record.config


def test_the_summary_says_what_came_out(tracked_path):
    server, runs_dir, _ = tracked_path
    for name, run in server.runs.items():
        record = read_record(runs_dir / name)
        if isinstance(record, PathRecord):
            continue
        assert run.summary["end/test_accuracy"] == record.test.accuracy
        assert run.summary["end/train_objective"] == record.train.objective
        assert run.summary["end/kept_weights"] == record.kept
        assert run.summary["end/measured_sparsity"] == record.measured_sparsity


def test_a_path_comes_with_its_points_a_chart_its_rise_barriers_and_length(tracked_path):
    server, runs_dir, _ = tracked_path
    (run,) = (run for run in server.runs.values() if run.job_type == "path")
    record = read_record(runs_dir / run.name)
    (file,) = (body for name, body in run.files.items() if name.endswith(".table.json"))
    table = json.loads(file)
    ts = [point.t for point in record.points]
    losses = [point.train.loss for point in record.points]
    assert table["columns"][:2] == ["t", "train_loss"]
    assert [row[:2] for row in table["data"]] == [list(pair) for pair in zip(ts, losses)]  # noqa: B905
    assert run.config["_wandb"]["visualize"]["path/chart"]["panel_config"]["panelDefId"]
    rise, over = largest_rise(ts, losses), barriers(ts, losses)
    assert run.summary["path/largest_rise"] == pytest.approx(rise.value)
    assert run.summary["path/barrier_over_chord"] == pytest.approx(over.chord)
    assert run.summary["path/barrier_over_mean_of_ends"] == pytest.approx(over.mean_of_ends)
    assert run.summary["path/barrier_over_worse_end"] == pytest.approx(over.worse_end)
    assert run.summary["path/length"] == pytest.approx(record.length)


def test_a_run_that_is_started_again_goes_on_as_the_same_one(stand_in, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(BEGIN_AND_GO_ON)
    words = (sys.executable, "run.py")
    stopped = subprocess.run(
        [*words, "1", "4", "1"], cwd=tmp_path, env=environment(stand_in, tmp_path),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    (run,) = stand_in.runs.values()
    assert "Preempted: stopped by SIGUSR1" in stopped.stderr
    assert (run.state, run.exit_code) == ("preempted", 1)

    run_command(*words, "4", "6", "0", server=stand_in, home=tmp_path)

    assert list(stand_in.runs) == ["a-run-seed1-00000000"]
    assert run.state == "finished"
    assert [line["trainer/global_step"] for line in run.history] == [1, 2, 3, 4, 5]
    assert stand_in.unknown == []


def test_what_was_logged_offline_is_sent_later(stand_in, tmp_path):
    words = (*TRAIN, "logger.mode=offline", "log_every_steps=6")
    run_command(*sparse(*words), server=None, home=tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "wandb.json").read_text())["offline"] is True
    (offline,) = folder.glob("wandb/offline-run-*")

    run_command("wandb", "sync", str(offline), server=stand_in, home=tmp_path)

    run = stand_in.runs[folder.name]
    sent = [line["train/batch_loss"] for line in run.history if "train/batch_loss" in line]
    assert sent == [entry["batch_loss"] for entry in history_of(folder)]
    assert len(sent) == 2
    assert run.summary["end/test_accuracy"] == read_record(folder).test.accuracy


def test_without_a_key_nothing_is_begun(tmp_path):
    said = run_command(*sparse(*TRAIN), server=None, home=tmp_path, status=2)
    assert said.startswith("error: logger=wandb: No API key configured.")
    assert "logger.mode=offline" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_without_a_server_nothing_is_begun(tmp_path):
    with StandIn() as gone:
        pass
    said = run_command(*sparse(*TRAIN), server=gone, home=tmp_path, status=2)
    assert "error: logger=wandb: " in said
    assert "logger.mode=offline" in said
    assert not (tmp_path / "runs").exists()


def test_a_service_that_does_not_end_does_not_keep_a_process_alive(stand_in, tmp_path):
    (tmp_path / "run.py").write_text(STOP_ANSWERING)
    with (tmp_path / "said").open("w") as said:  # a pipe would be held open by the service
        process = subprocess.Popen(
            [sys.executable, "run.py"], cwd=tmp_path, env=environment(stand_in, tmp_path),
            stdout=said, stderr=said,
        )  # fmt: skip
        try:
            assert process.wait(timeout=300) == 3
        finally:
            process.kill()
            service = int((tmp_path / "service").read_text())
            os.kill(service, signal.SIGCONT)
    assert (tmp_path / "said").read_text() == ""
    wait_until(lambda: not is_running(service), seconds=60)


def test_a_key_that_is_not_accepted_is_said(stand_in, tmp_path):
    said = run_command(
        *sparse(*TRAIN), server=stand_in, home=tmp_path, status=2, WANDB_API_KEY="x" * 40
    )
    assert "error: logger=wandb: " in said
    assert not (tmp_path / "runs").exists()


def test_a_mode_that_is_none_is_refused(capsys):
    assert main([*TRAIN, "logger.mode=sometimes"]) == 2
    assert (
        "logger.mode=sometimes: choose one of online, offline, or null" in capsys.readouterr().err
    )


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    """A tracker that writes offline, and what it says."""
    from lightning_sparse.tracking.wandb_tracker import WandbSettings, WandbTracker

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = TrackedRun(
        run_id="a", kind="train", group="a", tags=(), config={}, run_dir=tmp_path / "a"
    )
    said = []
    return WandbTracker(run, WandbSettings(project="p", mode="offline"), said.append), said


def test_an_error_of_the_tracker_is_said_once_and_reaches_nobody(tracker, monkeypatch):
    tracker, said = tracker
    with tracker:
        run = tracker._logger.experiment
        monkeypatch.setattr(run, "log", lambda *_, **__: 1 / 0)
        tracker.log({"step": 1, "batch_loss": 1.0})
        tracker.log({"step": 2, "batch_loss": 1.0})
    assert len(said) == 1
    assert said[0].startswith("W&B: division by zero; a goes on without it, and ")
    monkeypatch.undo()
    run.finish()


def test_a_server_that_is_gone_when_a_run_begins_makes_it_an_offline_run(tmp_path):
    with StandIn() as gone:
        pass
    script = tmp_path / "run.py"
    script.write_text(
        "import lightning_sparse.tracking.wandb_tracker as module\nmodule._INIT_SECONDS = 3\n"
        + BEGIN_AND_GO_ON
    )
    said = run_command(sys.executable, "run.py", "1", "3", "0", server=gone, home=tmp_path)
    assert "a-run-seed1-00000000 is logged offline" in said
    assert len(list((tmp_path / "runs" / "a").glob("wandb/offline-run-*"))) == 1


def test_the_environment_of_an_agent_is_hidden_from_runs_that_it_did_not_ask_for(monkeypatch):
    from lightning_sparse.tracking.wandb_tracker import outside_of_sweeps

    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "r")
    with outside_of_sweeps():
        assert not {"WANDB_SWEEP_ID", "WANDB_RUN_ID"} & set(os.environ)
    assert (os.environ["WANDB_SWEEP_ID"], os.environ["WANDB_RUN_ID"]) == ("s", "r")
