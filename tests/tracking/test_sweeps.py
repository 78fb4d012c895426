"""Sweeps of this project: with the real client's `wandb sweep` and `wandb agent`, and without."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_record
from tests.tracking.conftest import environment, run_command, sparse
from tests.tracking.stand_in import StandIn

SMALL = Path(__file__).with_name("small.yaml")


def write_sweep(folder, parameters, **changes):
    """Copy the small sweep with other parameters."""
    body = {**yaml.safe_load(SMALL.read_text()), "parameters": parameters, **changes}
    file = folder / "changed.yaml"
    file.write_text(yaml.safe_dump(body))
    return str(file)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The small sweep, registered and run to its end by one agent, all by our own commands."""
    home = tmp_path_factory.mktemp("swept")
    with StandIn() as server:
        registered = run_command(
            *sparse("sweep", f"sweep.file={SMALL}", "log_every_steps=4"), server=server, home=home
        )
        sweep_id = re.search(r"make agent SWEEP_ID=(\S+)\n", registered).group(1)
        agent = run_command(*sparse("agent", f"sweep.id={sweep_id}"), server=server, home=home)
        yield server, home / "runs", sweep_id, agent


def test_the_sweep_is_registered_with_its_file_and_the_settings_that_were_typed(swept):
    server, _, sweep_id, _ = swept
    assert sweep_id == "stand-in/lightning-sparse/sweep1"
    file = yaml.safe_load(SMALL.read_text())
    sent = server.sweeps["sweep1"].config
    assert {name: sent[name] for name in file if name != "command"} == {
        name: value for name, value in file.items() if name != "command"
    }
    assert sent["command"] == [*file["command"][:-1], "log_every_steps=4", file["command"][-1]]


def test_every_point_has_finished_with_its_own_configuration(swept):
    server, runs_dir, _, _ = swept
    points = {name: run for name, run in server.runs.items() if run.sweep == "sweep1"}
    assert set(points) == {"sweep1run1", "sweep1run2"}
    assert [run.config["method"] for run in points.values()] == ["scratch", "prune"]
    for run in points.values():
        assert (run.state, run.exit_code) == ("finished", 0)
        assert run.config["seed"] == run.config["settings"]["seed"] == 21
        assert run.config["settings"]["method"]["name"] == run.config["method"]
        record = read_record(runs_dir / run.display_name)
        assert run.config["run_id"] == record.run_id == run.display_name
        assert run.summary["end/test_accuracy"] == record.test.accuracy


def test_the_pruned_run_that_is_made_first_is_logged_under_its_own_id(swept):
    server, runs_dir, _, _ = swept
    (name,) = (name for name, run in server.runs.items() if run.sweep is None)
    assert read_record(runs_dir / name).method == "prune"
    assert server.runs[name].state == "finished"


def test_a_point_that_is_finished_is_told_from_disk_and_not_trained_again(swept):
    server, runs_dir, _, agent = swept
    pruned = server.runs["sweep1run2"]
    assert f"{pruned.display_name} is finished already" in agent
    lines = (runs_dir / pruned.display_name / "history.jsonl").read_text().splitlines()
    written = [json.loads(line)["batch_loss"] for line in lines]
    assert [line["train/batch_loss"] for line in pruned.history] == written
    assert len(written) == 3
    assert len(list(runs_dir.iterdir())) == 2


def test_the_agents_ids_are_noted_in_the_folders_which_are_named_by_their_settings(swept):
    server, runs_dir, _, _ = swept
    for name in ("sweep1run1", "sweep1run2"):
        note = json.loads((runs_dir / server.runs[name].display_name / "wandb.json").read_text())
        assert (note["id"], note["sweep_id"]) == (name, "sweep1")


def test_the_client_asked_nothing_that_the_stand_in_could_not_answer(swept):
    server, _, _, _ = swept
    assert server.unknown == []
    assert {"UpsertSweep", "CreateAgent", "Heartbeat"} <= set(server.operations)


def test_a_stopped_agents_run_is_gone_on_with_by_another_and_nothing_is_trained_twice(
    stand_in, tmp_path
):
    file = write_sweep(
        tmp_path,
        {"training.num_steps": {"value": 3000}, "log_every_steps": {"value": 50}},
    )
    run_command("wandb", "sweep", file, server=stand_in, home=tmp_path)
    words = ["wandb", "agent", "--forward-signals", "stand-in/lightning-sparse/sweep1"]
    first = subprocess.Popen(
        [*words, "--count", "1"], cwd=tmp_path, env=environment(stand_in, tmp_path),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: list(tmp_path.glob("runs/*/start.safetensors")))
        time.sleep(1)
        first.send_signal(signal.SIGUSR1)
        first.wait(timeout=300)
    finally:
        first.kill()
    (run,) = stand_in.runs.values()
    assert (run.state, run.exit_code) == ("preempted", 1)
    assert not list(tmp_path.glob("runs/*/record.json"))

    run_command(*words, server=stand_in, home=tmp_path)

    assert list(stand_in.runs) == ["sweep1run1"]
    assert run.state == "finished"
    steps = [line["trainer/global_step"] for line in run.history if "train/batch_loss" in line]
    assert steps == list(range(50, 3001, 50))
    (folder,) = (tmp_path / "runs").iterdir()
    assert read_record(folder).provenance["num_resumed"] == 1
    assert stand_in.unknown == []


def test_a_point_over_several_seeds_is_one_run_of_the_server_judged_by_their_mean(
    stand_in, tmp_path
):
    file = write_sweep(tmp_path, {"method": {"value": "dense"}, "sweep.seeds": {"value": [21, 22]}})
    run_command("wandb", "sweep", file, server=stand_in, home=tmp_path)
    run_command(
        "wandb", "agent", "--count", "1", "stand-in/lightning-sparse/sweep1",
        server=stand_in, home=tmp_path,
    )  # fmt: skip

    records = [read_record(folder) for folder in (tmp_path / "runs").glob("*-seed*")]
    assert sorted(record.seed for record in records) == [21, 22]
    (run,) = stand_in.runs.values()
    assert (run.sweep, run.state, run.exit_code) == ("sweep1", "finished", 0)
    accuracies = [record.test.accuracy for record in records]
    assert run.summary["end/test_accuracy"] == pytest.approx(sum(accuracies) / 2, abs=1e-12)
    assert accuracies[0] != accuracies[1]
    assert stand_in.unknown == []


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_an_unknown_parameter_is_found_before_anything_is_registered(stand_in, tmp_path):
    file = write_sweep(tmp_path, {"training.learning_rat": {"values": [0.1]}})
    said = run_command(
        *sparse("sweep", f"sweep.file={file}"), server=stand_in, home=tmp_path, status=2
    )
    assert said.startswith("error: changed.yaml: no setting is called 'training.learning_rat'; did")
    assert stand_in.sweeps == {}
    assert main(["multirun", f"sweep.file={file}", f"runs_dir={tmp_path}/runs"]) == 2
    assert not (tmp_path / "runs").exists()


def test_a_sweep_id_that_does_not_exist_is_one_message(stand_in, tmp_path):
    words = sparse("agent", "sweep.id=stand-in/lightning-sparse/none")
    said = run_command(*words, server=stand_in, home=tmp_path, status=2)
    assert "error: sweep.id=stand-in/lightning-sparse/none: W&B has no such sweep" in said
    assert stand_in.agents == {}


def test_a_sweep_without_a_key_is_one_message(tmp_path):
    words = sparse("sweep", f"sweep.file={SMALL}")
    said = run_command(*words, server=None, home=tmp_path, status=2)
    assert said.startswith("error: logger=wandb: No API key configured.")


def test_an_agent_on_a_machine_without_the_data_never_begins(stand_in, tmp_path):
    file = write_sweep(tmp_path, {"data": {"value": "cifar10"}, "data.root": {"value": "nowhere"}})
    run_command("wandb", "sweep", file, server=stand_in, home=tmp_path)
    words = sparse("agent", "sweep.id=stand-in/lightning-sparse/sweep1")
    said = run_command(*words, server=stand_in, home=tmp_path, status=2)
    assert f"error: cifar10 is missing: looked in {tmp_path}/nowhere/" in said
    assert stand_in.agents == {}


@pytest.mark.parametrize("sweep_id", ["a1", "project/a1", "null"])
def test_an_id_that_is_not_whole_is_refused(sweep_id, capsys):
    assert main(["agent", f"sweep.id={sweep_id}"]) == 2
    assert "write ENTITY/PROJECT/ID, as `make sweep` has printed it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "sweep.file is not given; name one, for example sweep.file=gap"),
        (["sweep.file=none"], "sweep.file=none: there is no such file; name one of gap, learning_"),
        (["sweep.file=gap", "sweep.part=5/3"], "sweep.part=5/3: write I/N"),
    ],
)
def test_a_sweep_that_cannot_be_found_is_refused(words, expected, capsys):
    assert main(["multirun", *words]) == 2
    assert expected in capsys.readouterr().err


def test_without_a_server_the_points_are_run_a_failed_one_stops_no_other_and_is_named(tmp_path):
    file = write_sweep(
        tmp_path,
        # The second rate diverges; scratch needs the pruned run, which is a point too.
        {
            "training.learning_rate": {"values": [0.1, 1.0e6]},
            "method": {"values": ["scratch", "prune"]},
        },
    )
    words = sparse("multirun", f"sweep.file={file}", "sweep.num_processes=1", "runs_dir=runs")

    said = run_command(*words, server=None, home=tmp_path, status=2)

    assert "changed: 4 points, 4 different runs\n" in said
    assert "4 runs and paths, 0 of them finished" in said
    error = said.strip().splitlines()[-1]
    assert error.startswith("error: train prune at sparsity 0.9, seed 11: ")
    assert "lower training.learning_rate=1000000.0" in error
    assert error.endswith("1 job in need of these not begun")
    finished = {file.parent.name: file.stat().st_mtime_ns for file in tmp_path.rglob("record.json")}
    assert sorted(name.split("-s0.9")[0] for name in finished) == ["smoke-prune", "smoke-scratch"]
    assert not list(tmp_path.rglob("wandb.json"))  # nobody asked for the tracker here

    again = run_command(*words, server=None, home=tmp_path, status=2)

    assert "4 runs and paths, 2 of them finished" in again
    assert finished == {
        file.parent.name: file.stat().st_mtime_ns for file in tmp_path.rglob("record.json")
    }


def test_an_agent_and_the_command_without_a_server_make_the_same_runs(swept, tmp_path):
    _, runs_dir, _, _ = swept
    words = sparse(
        "multirun", f"sweep.file={SMALL}", "sweep.num_processes=1", f"runs_dir={runs_dir}"
    )
    said = run_command(*words, server=None, home=tmp_path)
    assert "2 runs and paths, 2 of them finished" in said


def test_agents_on_several_devices_are_refused_before_anything_is_asked(capsys):
    words = ["agent", "where=slurm", "sweep.id=a/b/c", "trainer.devices=4"]
    assert main(words) == 2
    assert "1 nodes of 4 devices would be as many agents" in capsys.readouterr().err
