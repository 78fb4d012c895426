"""The four arms of the protocol, through the same functions as the command line."""

import pytest
import torch

from lightning_sparse.execution.execute import execute
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.pipeline.jobs import with_needs
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.training.run import weights_at_step_file
from tests.training.problems import same_bits

TINY = (
    "data=synthetic", "+data.size=8", "+data.num_train=40", "+data.num_test=12",
    "+data.num_classes=3",
    "model.widths=[4,6]", "batch_size=8", "evaluation.batch_size=16", "training.num_steps=12",
    "training.learning_rate=0.1", "pruning.start_step=3", "pruning.end_step=8",
    "pruning.update_every=2", "sparsity=0.8", "seed=5",
)  # fmt: skip


def make(runs_dir, *overrides):
    """Train one run and what it needs; return its folder and its record."""
    job = plan_training(compose_settings([*TINY, f"runs_dir={runs_dir}", *overrides]))
    for item in with_needs([job]):
        record = execute(item)
    return job.run_dir, record


def start_of(run_dir):
    return load_tensors(run_dir / "start.safetensors")


def end_of(run_dir):
    return load_tensors(run_dir / "weights.safetensors")


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    """One folder for all tests here: finished runs are read, not made again."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def arms(runs_dir):
    methods = ("dense", "prune", "scratch", "lottery")
    # Every arm keeps step 3, at which pruning starts.
    return {name: make(runs_dir, f"method={name}", "capture_steps=[3]") for name in methods}


def masked(state, masks):
    return {
        name: torch.where(masks[name], tensor, 0.0) if name in masks else tensor
        for name, tensor in state.items()
    }


def test_lottery_starts_from_the_pruned_runs_own_start_times_the_mask(arms):
    pruned, lottery = arms["prune"][0], arms["lottery"][0]
    masks = load_masks(pruned / "masks.safetensors")

    expected, start = masked(start_of(pruned), masks), start_of(lottery)

    assert start.keys() == expected.keys()
    assert "features.1.weight" in start
    assert "features.1.running_mean" in start
    assert all(torch.equal(start[name], tensor) for name, tensor in expected.items())


def test_scratch_starts_from_other_weights_inside_the_same_mask(arms):
    masks = load_masks(arms["prune"][0] / "masks.safetensors")
    scratch, lottery = start_of(arms["scratch"][0]), start_of(arms["lottery"][0])

    for name, mask in masks.items():
        assert not (scratch[name] == lottery[name])[mask].any()
        assert scratch[name][mask].all()
        assert not scratch[name][~mask].any()


def test_all_sparse_arms_end_inside_the_same_mask(arms):
    masks = load_masks(arms["prune"][0] / "masks.safetensors")

    for name in ("prune", "scratch", "lottery"):
        assert arms[name][1].layers == arms["prune"][1].layers
        assert same_masks(load_masks(arms[name][0] / "masks.safetensors"), masks)
        assert all(not end_of(arms[name][0])[layer][~mask].any() for layer, mask in masks.items())


def same_masks(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(mask, second[name]) for name, mask in first.items()
    )


def test_dense_and_pruned_run_share_their_start_and_their_way_to_the_start_of_pruning(arms):
    dense, pruned = arms["dense"][0], arms["prune"][0]

    assert same_bits(start_of(dense), start_of(pruned))
    step_3 = weights_at_step_file(3)
    assert same_bits(load_tensors(dense / step_3), load_tensors(pruned / step_3))
    assert not same_bits(end_of(dense), end_of(pruned))
    assert not same_bits(start_of(dense), load_tensors(dense / step_3))


def test_records_say_what_the_arms_are(arms, runs_dir):
    records = {name: record for name, (_, record) in arms.items()}
    pruned = records["prune"]

    assert {record.num_steps for record in records.values()} == {12}
    assert {name: record.start for name, record in records.items()} == {
        "dense": "init", "prune": "init", "scratch": "init/scratch", "lottery": "prune:0",
    }  # fmt: skip
    sources = [records[name].mask_source for name in ("dense", "prune", "scratch", "lottery")]
    assert sources[:2] == [None, None]
    assert sources[2] == sources[3] == make(runs_dir, "method=prune")[1].run_id
    assert records["dense"].kept == records["dense"].prunable
    assert records["scratch"].kept == records["lottery"].kept == pruned.kept < pruned.prunable
    assert records["dense"].target_sparsity == 0.0
    assert pruned.target_sparsity == 0.8


def test_the_same_run_twice_gives_the_same_bits(arms, tmp_path):
    again, record = make(tmp_path, "method=lottery", "capture_steps=[3]")

    assert same_bits(end_of(again), end_of(arms["lottery"][0]))
    assert record.train == arms["lottery"][1].train
    assert record.test == arms["lottery"][1].test


def test_another_seed_gives_other_weights(arms, runs_dir):
    other, record = make(runs_dir, "method=prune", "seed=6")

    assert not same_bits(start_of(other), start_of(arms["prune"][0]))
    assert record.train.loss != arms["prune"][1].train.loss


def test_a_rewound_run_without_mask_and_momentum_goes_on_as_the_straight_run(runs_dir):
    plain = ("training.momentum=0.0", "sparsity=0.0", "pruning.start_step=7")

    # The training set has five batches, so the run goes on inside an epoch and into the next.
    rewound, record = make(runs_dir, "method=lottery", "rewind_step=7", *plain)
    straight, _ = make(runs_dir, "method=prune", "capture_steps=[7]", *plain)

    assert record.rewind_step == 7
    assert same_bits(start_of(rewound), load_tensors(straight / weights_at_step_file(7)))
    assert same_bits(end_of(rewound), end_of(straight))


def test_a_rewound_run_takes_the_pruned_runs_weights_of_that_step(runs_dir):
    rewound, record = make(runs_dir, "method=lottery", "rewind_step=3")
    pruned, _ = make(runs_dir, "method=prune", "capture_steps=[3]")

    masks = load_masks(pruned / "masks.safetensors")
    expected = masked(load_tensors(pruned / weights_at_step_file(3)), masks)
    start = start_of(rewound)
    assert all(torch.equal(start[name], tensor) for name, tensor in expected.items())
    assert record.num_steps == 12


def test_rewinding_into_pruning_gives_a_warning(runs_dir):
    with pytest.warns(
        UserWarning, match="method.start=prune:5 lies after the start of pruning at step 3"
    ):
        make(runs_dir, "method=lottery", "rewind_step=5")
