"""A sweep file as SLURM jobs, with no server: what is missing is run, what failed is named."""

import shutil

import pytest
import yaml

# Scratch runs need the pruned runs, which are points too. A rate that is far too high fails.
BODY = {
    "method": "grid",
    "command": ["lightning-sparse", "train", "experiment=smoke", "${args_no_hyphens}"],
    "parameters": {
        "method": {"values": ["scratch", "prune"]},
        "run_learning_rate": {"values": [0.1, 1e30]},
        "log_every_steps": {"value": 1},
    },
}


@pytest.mark.slurm
def test_points_are_jobs_and_only_what_is_missing_is_submitted_again(cluster, tmp_path):
    file, runs = tmp_path / "small.yaml", tmp_path / "runs"
    file.write_text(yaml.safe_dump(BODY))

    def submit():
        words = (f"sweep.file={file}", f"runs_dir={runs}", "slurm.minutes=30")
        status, said, errors = cluster.main("multirun", "where=slurm", *words)
        assert status == 0, errors
        return said.splitlines()

    def jobs_in(said):
        return {
            line.split(": ")[1]: line.split(": ")[0].removeprefix("job ")
            for line in said
            if line.startswith("job ")
        }

    with cluster.nothing_begins():
        first, second = jobs_in(submit()), jobs_in(submit())
    # What needs nothing is one array, elements of it are found again, and none is doubled.
    pruned = {name: job for name, job in first.items() if "-prune-" in name}
    assert len({job.partition("_")[0] for job in pruned.values()}) == 1
    assert second == first
    assert len(first) == len(set(first.values())) == 5

    cluster.wait_until(lambda: not cluster.run("squeue", "-h"), seconds=420)

    finished = {name for name in first if (runs / name / "record.json").is_file()}
    failed = set(first) - finished
    assert len(failed) == 2
    again = submit()
    assert set(jobs_in(again)) == failed
    for name in failed:
        (line,) = [line for line in again if line.startswith(f"{name} was submitted before")]
        assert line.endswith(f"its output: {runs}/slurm/{first[name]}")
        (output,) = (runs / "slurm" / first[name]).glob("*_log.out")
        assert "lower training.learning_rate" in output.read_text()
    assert "3 finished already" in again
    cluster.wait_until(lambda: not cluster.run("squeue", "-h"), seconds=240)

    gone = sorted(name for name in finished if "-scratch-" in name)[0]
    shutil.rmtree(runs / gone)
    assert set(jobs_in(submit())) == {gone, *failed}
    cluster.wait_until(lambda: not cluster.run("squeue", "-h"), seconds=240)
    assert (runs / gone / "record.json").is_file()
