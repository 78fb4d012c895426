"""A two-node run that is pre-empted while it prunes ends with the bits of one that was not."""

import re
from pathlib import Path

import pytest

from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.records import RunRecord, read_record
from tests.slurm.sandbox import Sandbox

# Long enough to be stopped in the middle, on two nodes of one process each.
PRUNING = (
    "experiment=smoke", "method=prune", "training.num_steps=400", "pruning.start_step=40",
    "pruning.end_step=390", "pruning.update_every=20", "batch_size=16", "++trainer.num_nodes=2",
    "checkpoint.every_seconds=1", "checkpoint.largest_share=1",
)  # fmt: skip


def submit(cluster: Sandbox, folder: Path, verb: str, *words: str) -> list[str]:
    """Submit through the command line and return the ids of the jobs."""
    own = (f"runs_dir={folder}", "slurm.minutes=30", "slurm.warn_seconds=60")
    status, said, errors = cluster.main(verb, *words, *own)
    assert status == 0, errors
    return re.findall(r"^job (\S+): ", said, re.MULTILINE)


def newest_step(folder: Path) -> int:
    steps = [int(path.name.removeprefix("step_")) for path in folder.glob("*/checkpoints/step_*")]
    return max(steps, default=0)


@pytest.mark.slurm
def test_a_preempted_run_is_requeued_and_ends_with_the_same_bits(cluster, tmp_path):
    straight_dir, stopped_dir = tmp_path / "straight", tmp_path / "stopped"
    [straight] = submit(
        cluster, straight_dir, "train", "where=slurm", *PRUNING, "slurm.partition=high"
    )
    [stopped] = submit(
        cluster, stopped_dir, "train", "where=slurm", *PRUNING, "slurm.partition=low"
    )
    cluster.wait_until(lambda: newest_step(stopped_dir) > 60, seconds=240)
    assert newest_step(stopped_dir) < 380

    # More than what the two runs leave free.
    cluster.run(
        "srun", "--partition=high", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=7", "true"
    )
    cluster.wait_for(straight, stopped)

    assert (cluster.restarts(straight), cluster.restarts(stopped)) == (0, 1)
    [one], [other] = straight_dir.glob("smoke-prune-*"), stopped_dir.glob("smoke-prune-*")
    assert one.name == other.name
    for name in ("weights.safetensors", "masks.safetensors", "start.safetensors"):
        first, second = load_tensors(one / name), load_tensors(other / name)
        assert first.keys() == second.keys()
        assert all(first[key].numpy().tobytes() == second[key].numpy().tobytes() for key in first)
    records = [read_record(folder) for folder in (one, other)]
    assert all(isinstance(record, RunRecord) for record in records)
    assert [record.provenance["num_resumed"] for record in records] == [0, 1]
    assert records[0].train == records[1].train
    assert records[0].test == records[1].test
    assert records[0].flops == records[1].flops
    assert records[0].global_batch_size == 32
