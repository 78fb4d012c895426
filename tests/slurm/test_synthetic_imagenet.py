"""The ImageNet experiment in small, on two nodes: from image files by way of FFCV to the report."""

import json
import sys

import pytest

from lightning_sparse.records import RunRecord, from_json
from tests.slurm.test_preemption import submit

NUM_TRAIN, NUM_VAL = 160, 31  # neither is a multiple of what two nodes take in one step

# Of each kind of job one, and two epochs of two steps.
SMALL = (
    "experiment=imagenet_small", "++trainer.num_nodes=2", "data=imagenet_ffcv", "data.size=32",
    "data.resize=36", "training.num_steps=4", f"training.lr_schedule.images_per_epoch={NUM_TRAIN}",
    "pruning.start_step=1", "pruning.end_step=3", "pruning.update_every=1",
    "path.training.num_steps=2", "evaluation.train_subset_size=null",
    "evaluation.num_recalibration_images=64", "evaluation.recalibration_batch_size=32",
    "reproduce.seeds=[11]", "reproduce.control_sparsity=null",
    "reproduce.claims=[C,D1]",
)  # fmt: skip


@pytest.mark.slurm
def test_image_files_become_networks_a_line_a_curve_and_a_report_on_two_nodes(cluster, tmp_path):
    def write(verb, *words):
        cluster.run(sys.executable, "-m", "lightning_sparse.cli.main", verb, *words)

    images, betons, runs = (tmp_path / name for name in ("images", "betons", "runs"))
    write(
        "data-synthetic", f"images={images}", f"out={tmp_path}/raw", "mode=raw", "size=36",
        f"num_train={NUM_TRAIN}", f"num_val={NUM_VAL}", "num_classes=3",
    )  # fmt: skip
    write("data-imagenet", f"imagenet={images}", f"out={betons}")
    # No image files for the runs, so that they can only have read what FFCV reads.
    words = (*SMALL, f"data.root={betons}", f"data.image_root={tmp_path}/nowhere")
    jobs = submit(cluster, runs, "reproduce", "where=slurm", *words)
    cluster.wait_for(*jobs, seconds=600)

    report = runs / "reproduce_imagenet_small"
    assert "<svg" in (report / "report.html").read_text()
    verdicts = {claim["claim"]: claim["verdict"] for claim in
                json.loads((report / "claims.json").read_text())}  # fmt: skip
    assert set(verdicts.values()) == {"undecided"}  # one seed
    records = [from_json(line) for line in (report / "records.jsonl").read_text().splitlines()]
    arms = [record for record in records if isinstance(record, RunRecord)]
    assert (len(arms), len(records)) == (2, 4)
    for record in arms:
        assert record.config["trainer"]["num_nodes"] == 2
        assert record.global_batch_size == 64
        assert record.test.num_images == NUM_VAL
