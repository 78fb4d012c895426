import dataclasses
import json
import subprocess
import sys

import pytest

from lightning_sparse.analysis.claim import to_json
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.errors import UserError
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    Effects,
    simulated_records,
)

CLAIMS = ["A", "B", "C1", "C2", "positive control", "D1", "D2", "D3", "D4"]
CLEAR = Effects(
    lottery_loss=0.3,
    lottery_accuracy=0.9,
    dense_quadratic_rise=0.02,
    rise_spread=0.1,
    loss_spread=0.02,
)


def records_of(effects=CLEAR, seeds=(11, 12, 13)):
    return simulated_records(seeds, effects=effects, grid=ENDS_AND_MIDDLE)


def judged(records):
    results = judge_all(records, headline_sparsity=HEADLINE_SPARSITY)
    return {part.claim: part for result in results for part in (result, *result.parts)}


def test_every_claim_is_judged_in_order():
    results = judge_all(records_of(), headline_sparsity=HEADLINE_SPARSITY)
    assert [result.claim for result in results] == CLAIMS
    assert [len(result.parts) for result in results] == [3, 3, 0, 0, 0, 0, 0, 0, 0]


def test_a_clear_truth_is_supported_throughout():
    assert {result.verdict for result in judged(records_of()).values()} == {"supported"}


def test_paths_of_the_opposite_truth_are_refuted():
    opposite = dataclasses.replace(
        CLEAR,
        start_rise=1.0,
        sparse_line_rise=0.0,
        sparse_quadratic_rise=0.0,
        sparse_cubic_rise=0.0,
        dense_quadratic_rise=2.0,
    )
    verdicts = {name: result.verdict for name, result in judged(records_of(opposite)).items()}
    refuted = {name for name, verdict in verdicts.items() if verdict == "not supported"}
    assert refuted == {name for name in verdicts if name[0] in "ABC"}


def test_ends_of_the_opposite_truth_are_refuted():
    opposite = dataclasses.replace(
        CLEAR,
        pruned_loss=0.5,
        pruned_accuracy=0.8,
    )
    results = judged(records_of(opposite))
    assert {results[f"D{i}"].verdict for i in (1, 2, 3, 4)} == {"not supported"}


def test_estimates_are_the_truth_that_was_put_in():
    exact = dataclasses.replace(
        CLEAR, rise_spread=0.0, rise_noise=0.0, loss_spread=0.0, accuracy_spread=0.0
    )
    results = judged(records_of(exact))
    # tol = 2 * 5 % of the loss at the peak, which is the scratch loss plus the rise.
    assert results["A: scratch:start"].estimate == pytest.approx(0.5)
    assert results["B: line"].estimate == pytest.approx(2.9 / (0.1 * 3.06))
    assert results["B: quadratic"].estimate == pytest.approx(0.3 / (0.1 * 0.46))
    assert results["B: cubic"].estimate == pytest.approx(0.25 / (0.1 * 0.41))
    # The dense rise is 0.02; the floor of both is half the tol of the sparse one, 0.023.
    assert results["C1"].estimate == pytest.approx(0.3 / 0.023)
    assert results["C2"].estimate == pytest.approx(0.02 / 0.29)
    assert results["positive control"].estimate == pytest.approx(0.008 / 0.11)
    assert results["D1"].estimate == pytest.approx(0.025)
    assert results["D2"].estimate == pytest.approx(-0.08)
    assert results["D3"].estimate == pytest.approx(0.07)
    assert results["D4"].estimate == pytest.approx(-0.22)


def test_only_the_headline_sparsity_is_judged():
    results = judge_all(records_of(), headline_sparsity=0.9)
    verdicts = {result.claim: result for result in results}
    assert verdicts["B"].note.startswith(
        "weakest part is B: line; missing: line scratch:end to prune:end"
    )
    assert verdicts["D1"].estimate == pytest.approx(0.3 * 0.025, abs=0.006)


@pytest.mark.parametrize(
    ("control_rise", "control_verdict"), [(1.0, "not supported"), (0.107, "undecided")]
)
def test_a_positive_control_that_does_not_pass_leaves_b_and_c_open(control_rise, control_verdict):
    weak = dataclasses.replace(CLEAR, control_quadratic_rise=control_rise)
    results = judged(records_of(weak))
    assert results["positive control"].verdict == control_verdict
    for name in ("B", "B: quadratic", "B: cubic", "C1", "C2"):
        assert results[name].verdict == "undecided"
        assert results[name].note.startswith(
            f"search too weak: the positive control is {control_verdict} "
            "(the numbers alone would say supported)"
        )
        assert results[name].interval is not None
    untouched = {name: results[name].verdict for name in ("A", "B: line", "D1", "D2")}
    assert set(untouched.values()) == {"supported"}


def test_without_the_positive_control_b_and_c_are_open():
    kept = [record for record in records_of() if "D2-end" not in record.run_id]
    results = judged(kept)
    assert "missing: dense quadratic dense:end to dense2:end" in results["positive control"].note
    assert {results[name].verdict for name in ("B", "C1", "C2")} == {"undecided"}
    assert results["B: line"].verdict == "supported"


def test_one_seed_decides_nothing_and_says_why():
    results = judged(records_of(seeds=[11])).values()
    assert {result.verdict for result in results} == {"undecided"}
    assert {result.interval for result in results} == {None}
    assert all("seeds: 1, an interval needs 2" in result.note for result in results)


def test_a_claim_without_its_records_names_them():
    kept = [record for record in records_of() if "-3-" not in record.run_id]
    cubic = judged(kept)["B: cubic"]
    assert (cubic.verdict, cubic.estimate, cubic.interval) == ("undecided", None, None)
    missing = "missing: sparse cubic scratch:end to prune:end at sparsity 0.98 of seed 11, 12, 13"
    assert cubic.note.startswith(missing)
    assert judged(kept)["B"].verdict == "undecided"
    assert missing in judged(kept)["B"].note


def test_a_seed_that_failed_is_not_averaged_away():
    # Seed 13 has no scratch run: what is left is clear, and yet it is not all that was asked for.
    kept = [
        record for record in records_of() if record.run_id != "scratch-init_scratch-0.98-seed13"
    ]
    d1 = judged(kept)["D1"]
    assert (d1.verdict, d1.seeds) == ("undecided", (11, 12))
    assert d1.note.startswith("missing: scratch:end at sparsity 0.98 of seed 13")


def test_reversed_ends_are_counted():
    reversed_ends = dataclasses.replace(CLEAR, pruned_loss=0.2, scratch_loss=0.1)
    results = judged(records_of(reversed_ends))
    for name in ("B: line", "B: quadratic", "B: cubic", "C1", "C2"):
        assert "ends reversed (worse at t = 1) in 3 of 3 seeds" in results[name].note


def test_every_record_behind_a_verdict_exists():
    records = records_of()
    known = {record.run_id for record in records}
    for result in judged(records).values():
        assert result.records
        assert set(result.records) <= known


def test_the_order_of_records_is_irrelevant():
    records = records_of()
    backwards, forwards = judged(records[::-1]), judged(records)
    assert backwards == forwards


def test_every_rule_says_all_that_is_needed_to_follow_it():
    for result in judged(records_of()).values():
        assert "95 % Student t interval over seeds" in result.rule
        assert "Per seed x = " in result.rule
        assert "claimed" in result.unit


def test_the_json_of_all_claims_is_strict():
    results = judge_all(records_of(), headline_sparsity=HEADLINE_SPARSITY)
    read = json.loads(to_json(results), parse_constant=pytest.fail)
    assert [body["claim"] for body in read] == CLAIMS
    assert all(body["num_seeds"] == 3 for body in read)


def test_records_that_contradict_each_other_are_refused():
    records = records_of()
    with pytest.raises(UserError, match="comes twice"):
        judge_all([*records, records[0]], headline_sparsity=HEADLINE_SPARSITY)


def test_judging_needs_no_torch():
    program = (
        "import sys, lightning_sparse.analysis.judge, lightning_sparse.analysis.tables; "
        "print(sorted({'torch', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
