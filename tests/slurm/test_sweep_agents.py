"""The real agents of W&B as an array of SLURM jobs, of which one is asked to stop."""

import json
import re
import sys

import pytest
import yaml

from lightning_sparse.records import read_record
from tests.tracking.conftest import environment, run_command, stand_in  # noqa: F401 (a fixture)
from tests.tracking.test_sweeps import SMALL

NUM_STEPS = 2000


def has_begun(runs_dir, job):
    """Whether the run that the job's agent was given makes its steps."""
    text = "".join(log.read_text() for log in runs_dir.glob(f"slurm/{job}/*_log.out"))
    names = re.findall(r"^W&B: http\S+/runs/(\w+)$", text, re.MULTILINE)
    notes = (folder / "wandb.json" for folder in names and runs_dir.glob("smoke-*"))
    begun = (note for note in notes if note.with_name("start.safetensors").exists())
    return any(json.loads(note.read_text())["id"] in names for note in begun)


@pytest.mark.slurm
def test_of_two_agents_one_is_stopped_and_its_run_is_finished_by_the_other(
    cluster,
    stand_in,  # noqa: F811
    tmp_path,
):
    parameters = {
        "training.num_steps": NUM_STEPS, "log_every_steps": 50, "runs_dir": f"{tmp_path}/runs",
    }  # fmt: skip
    body = {
        **yaml.safe_load(SMALL.read_text()),
        "parameters": {
            "seed": {"values": [21, 22]},
            **{name: {"value": value} for name, value in parameters.items()},
        },
    }
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(body))
    # However slow the one is to stop, the other is still there to go on with its run.
    stand_in.keeps_agents = True
    run_command("wandb", "sweep", f"{tmp_path}/two.yaml", server=stand_in, home=tmp_path)

    said = cluster.run(
        sys.executable, "-m", "lightning_sparse.cli.main", "agent", "where=slurm",
        "sweep.id=stand-in/lightning-sparse/sweep1", "sweep.num_agents=2",
        f"runs_dir={tmp_path}/runs", "slurm.minutes=30", "slurm.warn_seconds=60",
        **environment(stand_in, tmp_path / "home"),
    )  # fmt: skip
    jobs = re.findall(r"^job (\S+): agents-sweep1$", said, re.MULTILINE)
    assert len(jobs) == 2
    begun = tmp_path / "runs"
    cluster.wait_until(lambda: has_begun(begun, jobs[0]), seconds=240)
    cluster.run("scancel", "--signal=USR1", jobs[0])
    cluster.wait_until(lambda: cluster.state(jobs[0]) == "PENDING", seconds=120)
    # Requeued it would ask for its own run again; so only the other one is there to be asked.
    cluster.run("scontrol", "hold", jobs[0])
    stand_in.keeps_agents = False
    cluster.wait_for(jobs[1], seconds=420)
    cluster.run("scontrol", "release", jobs[0])
    cluster.wait_for(jobs[0], seconds=120)

    (stopped,) = (run for run, agents in stand_in.agents_of.items() if len(agents) == 2)
    (other,) = set(stand_in.agents_of) - {stopped}
    first, second = stand_in.agents_of[stopped]
    assert stand_in.agents_of[other] == [second]
    assert first != second
    assert {run.state for run in stand_in.runs.values()} == {"finished"}
    assert set(stand_in.runs) == {"sweep1run1", "sweep1run2"}
    for run in stand_in.runs.values():
        steps = [line["trainer/global_step"] for line in run.history if "train/batch_loss" in line]
        assert steps == list(range(50, NUM_STEPS + 1, 50))
    resumed = [read_record(folder).provenance["num_resumed"] for folder in begun.glob("smoke-*")]
    assert sorted(resumed) == [0, 1]
    assert (cluster.restarts(jobs[0]), cluster.restarts(jobs[1])) == (1, 0)
    assert stand_in.unknown == []
