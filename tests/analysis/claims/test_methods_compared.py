"""R1 to R4 on simulated records of known truth."""

import math

import numpy as np
import pytest

from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.method_rules import METHOD_RULES
from lightning_sparse.records import LayerSparsity
from tests.analysis.simulate import HEADLINE_SPARSITY, evaluation, simulated_run

SEEDS = range(31, 37)
LOSSES = {
    "random": 0.2, "rigl": 0.1, "continued": 0.15, "continued_rigl": 0.07, "prune": 0.05,
    "acdc": 0.06, "rigl_twice": 0.03,
    **{
        f"{arm}{control}": 0.12
        for arm in ("snip", "grasp", "synflow")
        for control in ("", "_shuffled", "_reinitialised")
    },
}  # fmt: skip


def records(losses=LOSSES, *, spread=0.05, **changes):
    """Draw every arm's loss around its truth; ``changes`` are of all runs of one arm."""
    generator = np.random.default_rng(0)
    kept = {
        "kept": 200,
        "prunable": 10_000,
        "layers": {"a": LayerSparsity(kept=200, prunable=10_000)},
    }
    return [
        simulated_run(
            arm,
            seed,
            HEADLINE_SPARSITY,
            train=evaluation(loss * math.exp(spread * generator.standard_normal() * size)),
            test=evaluation(1.0),
            **{**kept, **(changes.get(arm) or {})},
        )
        for arm, loss in losses.items()
        # The margin is the scatter of this one.
        for size in [4.0 if arm == "random" else 0.5]
        for seed in SEEDS
    ]  # fmt: skip


def judged(found):
    results = METHOD_RULES.judge(ExperimentRecords.from_records(found), HEADLINE_SPARSITY)
    return {result.claim: result for result in results}


@pytest.fixture(scope="module")
def results():
    return judged(records())


def test_each_claim_is_judged_on_its_own_two_arms(results):
    assert list(results) == ["R1", "R2", "R3", "R4: AC/DC", "R4: RigL, twice the steps"]
    expected = {"R1": 2.0, "R2": 0.15 / 0.07, "R4: AC/DC": 1.2, "R4: RigL, twice the steps": 0.6}
    for name, ratio in expected.items():
        assert results[name].estimate == pytest.approx(ratio, rel=0.15)
        assert results[name].verdict == ("supported" if ratio > 1 else "contradicted")
        assert results[name].seeds == tuple(SEEDS)


def test_controls_that_end_alike_are_equivalent_one_by_one_and_together(results):
    assert [part.claim for part in results["R3"].parts] == [
        f"R3: {name}, {how}"
        for name in ("SNIP", "GraSP", "SynFlow")
        for how in ("shuffled", "other weights")
    ]
    assert {part.verdict for part in results["R3"].parts} == {"supported"}
    assert results["R3"].verdict == "supported"
    assert "margin 0." in results["R3"].parts[0].note


def test_all_tests_are_adjusted_for_each_other_and_the_whole_is_none(results):
    tests = [test for one in results.values() for test in one.parts or (one,)]
    assert len(tests) == 10
    assert all(test.adjusted_p >= test.p for test in tests)
    smallest = min(tests, key=lambda test: test.p)
    assert smallest.adjusted_p == pytest.approx(min(1.0, 10 * smallest.p))
    assert results["R3"].adjusted_p is None


def test_one_part_that_differs_leaves_the_whole_open_and_all_of_them_refute_it():
    one = judged(records({**LOSSES, "snip_shuffled": 1.0}))["R3"]
    assert (one.parts[0].verdict, one.verdict) == ("contradicted", "undecided")
    controls = {arm: 1.0 for arm in LOSSES if arm.endswith(("_shuffled", "_reinitialised"))}
    assert judged(records({**LOSSES, **controls}))["R3"].verdict == "contradicted"


def test_an_arm_that_ends_at_another_sparsity_is_named_and_in_no_claim():
    layers = {"a": LayerSparsity(kept=212, prunable=10_000)}
    found = judged(records(acdc={"kept": 212, "layers": layers}))
    result = found["R4: AC/DC"]
    assert result.verdict == "undecided"
    assert result.estimate is None
    assert "acdc at the sparsity asked for (it ended at 97.88%)" in result.note
    assert found["R1"].verdict == "supported"


def test_a_seed_that_lacks_leaves_its_claim_open():
    found = judged([run for run in records() if (run.arm, run.seed) != ("rigl", 33)])
    assert found["R1"].verdict == "undecided"
    assert "rigl:end at sparsity 0.98 of seed 33" in found["R1"].note
