import dataclasses

import pytest

from lightning_sparse.analysis.costs import compared, flops_behind, stored_bytes
from lightning_sparse.records import Flops, LayerSparsity
from tests.analysis.simulate import evaluation, simulated_run


def run(arm, cost, *, rewind_step=0, **changes):
    return simulated_run(
        arm,
        31,
        0.9,
        train=evaluation(0.1),
        test=evaluation(0.2),
        num_steps=100,
        rewind_step=rewind_step,
        global_batch_size=8,
        flops=Flops(dense=100.0, inference=10.0, training=cost),
        **changes,
    )


def test_training_counts_every_run_that_it_needed_once():
    prune = run("prune", 3.0)
    scratch = run("scratch", 2.0, mask_source=prune.run_id)
    again = run("again", 1.0, mask_source=scratch.run_id, start_source=scratch.run_id)
    rewound = run(
        "lottery", 5.0, rewind_step=40, mask_source=prune.run_id, start_source=prune.run_id
    )
    by_id = {one.run_id: one for one in (prune, scratch, again, rewound)}
    costs = [flops_behind(one, by_id) for one in by_id.values()]
    assert costs == [800 * 3, 800 * 5, 800 * 6, 480 * 5 + 800 * 3]
    assert flops_behind(scratch, {scratch.run_id: scratch}) is None
    assert [row.training_flops for row in compared(by_id.values())] == costs


def test_bytes_are_those_of_kept_weights_bits_of_masks_and_everything_else():
    layers = {
        "a": LayerSparsity(kept=3, prunable=17),  # 3 bytes of bits
        "b": LayerSparsity(kept=5, prunable=5),  # none
    }
    masked = run("prune", 1.0, layers=layers, kept=8, prunable=22, num_parameters=30)
    assert stored_bytes(masked) == 3 + 4 * (8 + 8)
    narrow = dataclasses.replace(masked, observations={"mask_bytes": 0.0})
    assert stored_bytes(narrow) == 4 * (8 + 8)


def test_seeds_of_an_arm_are_one_row():
    rows = compared(
        [run("prune", 3.0), dataclasses.replace(run("prune", 5.0), seed=32, run_id="x")]
    )
    assert [(row.arm, len(row.runs)) for row in rows] == [("prune", 2)]
    assert rows[0].training_flops == pytest.approx(3200)
    assert rows[0].inference_flops == 10
