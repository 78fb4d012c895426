"""What is submitted, in which order, and what a user reads when it cannot be."""

import json
import sys
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.cluster.settings import SlurmSettings
from lightning_sparse.cluster.submission import Resources
from lightning_sparse.errors import UserError
from tests.slurm.sandbox import Sandbox
from tests.slurm.test_preemption import newest_step, submit

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slurm
def test_seeds_are_one_array(cluster, tmp_path):
    ids = submit(
        cluster, tmp_path, "train", "where=slurm", "experiment=smoke", "slurm.seeds=[11,12]"
    )

    assert [job.partition("_")[2] for job in ids] == ["0", "1"]
    assert len({job.partition("_")[0] for job in ids}) == 1
    cluster.wait_for(*ids)
    seeds = [json.loads(file.read_text())["seed"] for file in tmp_path.glob("*/record.json")]
    assert sorted(seeds) == [11, 12]


# Of each kind of job one, so that the test stays short.
SMALL = (
    "experiment=smoke", "reproduce.seeds=[11]", "reproduce.sparsities=[]",
    "reproduce.control_sparsity=null",
    "reproduce.claims=[C,D3]",
)  # fmt: skip


@pytest.mark.slurm
def test_a_whole_experiment_is_made_in_order_and_reported_and_not_made_twice(cluster, tmp_path):
    with cluster.nothing_begins():
        first = submit(cluster, tmp_path, "reproduce", "where=slurm", *SMALL)
        again = submit(cluster, tmp_path, "reproduce", "where=slurm", *SMALL)

    # Prune, scratch, lottery, a line, a curve, the report; queued, not doubled.
    assert len(first) == 6
    assert again == first
    cluster.wait_for(*first, seconds=420)
    report = tmp_path / "reproduce_smoke"
    assert {path.name for path in report.iterdir()} >= {
        "claims.json",
        "records.jsonl",
        "report.html",
    }
    assert len((report / "records.jsonl").read_text().splitlines()) == 5
    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/record.json")}

    [collected] = submit(cluster, tmp_path, "reproduce", "where=slurm", *SMALL)
    cluster.wait_for(collected)
    assert made == {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/record.json")}


@pytest.mark.slurm
def test_a_signal_before_the_run_can_listen_does_not_lose_the_job(cluster, tmp_path):
    """By the plain script: USR1 comes while Python is importing, before anything is trained."""
    (tmp_path / "runs").mkdir()
    job = cluster.run(
        "sbatch", "--parsable", "--requeue", f"--output={tmp_path}/out", f"--chdir={REPOSITORY}",
        "conf/slurm/job.sbatch", "train", "experiment=smoke", f"runs_dir={tmp_path}/runs",
        PYTHON=str(_slow_to_import(tmp_path)),
    )  # fmt: skip
    cluster.wait_until((tmp_path / "importing").exists, seconds=60)

    cluster.run("scancel", "--signal=USR1", job)
    cluster.wait_for(job)

    assert cluster.restarts(job) == 1
    assert "(status 138): requeuing" in (tmp_path / "out").read_text()
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 1


def _slow_to_import(folder: Path) -> Path:
    """An interpreter that, the first time, is still importing when the signal comes."""
    python = folder / "python"
    python.write_text(
        f"#!/bin/bash\n"
        f"if [[ ! -e {folder}/importing ]]; then touch {folder}/importing; exec sleep 60; fi\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return python


@pytest.mark.slurm
def test_a_cancelled_job_stays_cancelled(cluster, tmp_path):
    [job] = submit(
        cluster, tmp_path, "train", "where=slurm", "experiment=smoke", "training.num_steps=100000",
        "checkpoint.every_seconds=1", "checkpoint.largest_share=1",
    )  # fmt: skip
    cluster.wait_until(lambda: newest_step(tmp_path) > 0, seconds=120)

    cluster.run("scancel", job)
    cluster.wait_for(job, state="CANCELLED")
    cluster.wait_until(lambda: not cluster.run("squeue", "-h"), seconds=60)

    assert cluster.state(job) == "CANCELLED"
    assert cluster.restarts(job) == 0


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("slurm.partition=nope",), "slurm.partition=nope: SLURM has no such partition, or it is"),
        (("slurm.minutes=2",), "slurm.minutes=2, slurm.warn_seconds=120: a job is told to stop"),
        (("+slurm.options.time-min=never",), "SLURM refused the job: "),
        (("trainer.devices=auto",), "trainer.devices=auto: the images per optimizer step depend"),
    ],
)
def test_what_cannot_be_submitted_is_one_line_and_leaves_no_job(cluster, tmp_path, words, message):
    line = refused(cluster, tmp_path, *words)

    assert line.startswith(f"error: {message}")
    if "nope" in message:
        assert line.endswith("it has high, low")
    assert cluster.run("squeue", "-h") == ""


def refused(cluster: Sandbox, folder: Path, *words: str) -> str:
    status, _, errors = cluster.main(
        "train", "where=slurm", "experiment=smoke", f"runs_dir={folder}", *words
    )
    assert status == 2
    [line] = [line for line in errors.splitlines() if line.startswith("error: ")]
    return line


def test_without_slurm_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["train", "where=slurm", f"runs_dir={tmp_path}"]) == 2

    errors = capsys.readouterr().err
    assert errors.startswith("error: there is no SLURM here: sbatch is not on the PATH")
    assert errors.count("\n") == 1


def test_resources_are_what_sbatch_is_asked_for():
    resources = Resources(
        nodes=2,
        tasks_per_node=8,
        gpus_per_node=8,
        slurm=SlurmSettings(
            partition="gpu", mem_gb=500, minutes=90, warn_seconds=60,
            setup=["module load cuda"], options={"exclude": "node7"},
        ),
    )  # fmt: skip
    parameters = resources.parameters("run", after=["3", "5_1"])

    assert parameters["dependency"] == "afterok:3:5_1"
    assert parameters["time"] == 90
    assert (parameters["nodes"], parameters["ntasks_per_node"]) == (2, 8)
    assert (parameters["gpus_per_node"], parameters["mem"]) == (8, "500GB")
    assert parameters["setup"] == ["module load cuda"]
    assert parameters["additional_parameters"] == {
        "signal": "USR1@60", "requeue": True, "kill-on-invalid-dep": "yes", "exclude": "node7",
    }  # fmt: skip
    assert not {"account", "qos", "constraint", "cpus_per_task"} & parameters.keys()
    assert "dependency" not in resources.parameters("run", after=[])


def test_a_limit_that_leaves_no_time_is_refused():
    with pytest.raises(UserError, match=r"slurm\.minutes=4, slurm\.warn_seconds=120: a job is"):
        SlurmSettings(minutes=4, warn_seconds=120)
