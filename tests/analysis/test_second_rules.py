import dataclasses
import json

import pytest

from lightning_sparse.analysis.claim import to_json
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.errors import UserError
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    Effects,
    path_points,
    simulated_path,
    simulated_records,
)

CLAIMS = ["A", "B", "C", "C1", "control: dense", "control: in the mask", "D1", "D2", "D3", "D4"]
CLEAR = Effects(
    lottery_loss=0.3,
    lottery_accuracy=0.9,
    dense_quadratic_rise=0.0,
    dense_cubic_rise=0.0,
    control_quadratic_rise=0.0,
    rise_spread=0.1,
    loss_spread=0.02,
)
SIX = tuple(range(31, 37))


def records_of(effects=CLEAR, seeds=SIX, noise_seed=0):
    return simulated_records(
        seeds,
        effects=effects,
        grid=ENDS_AND_MIDDLE,
        rules=2,
        sparsities=[HEADLINE_SPARSITY],
        noise_seed=noise_seed,
    )


def judged(records, **options):
    results = judge_all(records, headline_sparsity=HEADLINE_SPARSITY, **options)
    return {part.claim: part for result in results for part in (result, *result.parts)}


def changed(records, is_meant, **changes):
    return [
        dataclasses.replace(record, **changes) if is_meant(record) else record for record in records
    ]


def test_six_clear_seeds_decide_every_claim():
    results = judge_all(records_of(), headline_sparsity=HEADLINE_SPARSITY)
    assert [result.claim for result in results] == CLAIMS
    assert {result.verdict for result in results} == {"supported"}
    assert {result.rules for result in results} == {2}
    shares = {result.claim: result.interval for result in results[:3]}
    assert shares["A"] == pytest.approx((0.5407, 1.0), abs=1e-4)


def test_five_seeds_decide_no_share_and_say_how_many_would():
    results = judged(records_of(seeds=SIX[:5]))
    assert results["A"].verdict == "undecided"
    assert results["A"].outlook == (
        "at the effect seen, 6 seeds would decide it with a chance of 80 %: make reproduce "
        "EXPERIMENT=simulated SEEDS=31,32,33,34,35,36"
    )
    # The controls are as open, so nothing is said of what the search did not find.
    assert results["B"].verdict_words == "undecided: search too weak"
    assert results["D1"].verdict == "supported"


def test_the_opposite_truth_is_contradicted():
    opposite = dataclasses.replace(
        CLEAR,
        start_rise=1.0,
        sparse_quadratic_rise=0.0,
        sparse_cubic_rise=0.0,
        dense_quadratic_rise=0.5,
        pruned_accuracy=0.8,
    )
    results = judged(records_of(opposite))
    assert {results[name].verdict for name in ("A", "B", "C", "C1", "D1")} == {"contradicted"}
    assert results["D2"].verdict == "supported"


def test_noise_of_the_measurement_widens_no_margin():
    effects = dataclasses.replace(CLEAR, relative_standard_error=10.0)
    assert judged(records_of(effects))["B"].verdict == "supported"


def test_the_same_yardstick_judges_both_spaces():
    same = dataclasses.replace(CLEAR, sparse_quadratic_rise=0.01, dense_quadratic_rise=0.01)
    results = judged(records_of(same))
    assert (results["B"].verdict, results["C"].verdict) == ("contradicted", "supported")


def test_b_takes_the_least_climb_of_all_that_was_searched():
    records = records_of()
    ends = {record.run_id: record.train for record in records if record.kind == "run"}
    found = [
        simulated_path(
            "scratch:end", "prune:end", seed, degree=5, space="end_mask", rules=2, num_classes=10,
            points=path_points(
                ends[f"scratch-init_scratch-0.98-seed{seed}"],
                ends[f"prune-init-0.98-seed{seed}"],
                0.0,
                grid=ENDS_AND_MIDDLE,
            ),
        )
        for seed in SIX
    ]  # fmt: skip
    assert judged(records)["B"].verdict == "supported"
    assert judged([*records, *found])["B"].verdict == "contradicted"


def longer(records, times, rise_of):
    """Fits with more steps, of as many seeds as rises are given."""
    ends = {record.run_id: record.train for record in records if record.kind == "run"}
    return [
        simulated_path(
            "scratch:end", "prune:end", seed, degree=degree, space="end_mask", rules=2,
            num_classes=10,
            run_id=f"longer-{degree}-{times}-{seed}", steps_multiplier=times,
            num_steps=1500 * times,
            points=path_points(
                ends[f"scratch-init_scratch-0.98-seed{seed}"],
                ends[f"prune-init-0.98-seed{seed}"],
                rise,
                grid=ENDS_AND_MIDDLE,
            ),
        )
        for seed, rise in zip(SIX, rise_of, strict=False)
        for degree in (2, 3)
    ]  # fmt: skip


def test_a_longer_search_that_finds_a_way_is_told_beside_b():
    records = records_of(seeds=range(31, 40))
    records += longer(records, 4, [0.2] * 6)
    records += longer(records, 16, [0.2] * 3 + [0.0] * 3)

    results = judged(records)

    assert results["B"].verdict == "supported"
    assert results["B"].verdict_words == "supported at 1,500 steps, undecided at 24,000"
    assert results["B: 6,000 steps"].verdict == "supported"
    assert results["B: 24,000 steps"].num_seeds == 6
    assert len(results["B"].seeds) == 9


@pytest.mark.parametrize(
    ("changes", "open_claims", "control"),
    [
        ({"control_quadratic_rise": 0.5}, {"B", "C", "C1"}, "control: dense"),
        ({"control_line_rise": 0.0}, {"B", "C", "C1"}, "control: dense"),
        ({"mask_control_quadratic_rise": 0.3}, {"B", "C1"}, "control: in the mask"),
        ({"mask_control_line_rise": 0.0}, {"B", "C1"}, "control: in the mask"),
    ],
)
def test_what_rests_on_a_search_stays_open_where_its_control_fails(changes, open_claims, control):
    results = judged(records_of(dataclasses.replace(CLEAR, **changes)))
    assert results[control].verdict == "contradicted"
    for name in open_claims:
        assert results[name].verdict_words == "undecided: search too weak"
        assert results[name].note.startswith(f"{control} is contradicted; the numbers alone")
    others = {"A", "B", "C", "C1"} - open_claims
    assert {results[name].verdict for name in others} == {"supported"}


def test_the_objective_is_judged_by_its_own_controls():
    def humped(point):
        above = point.train.objective + (0.5 if point.t == 0.5 else 0.0)
        return dataclasses.replace(point, train=dataclasses.replace(point.train, objective=above))

    records = [
        dataclasses.replace(record, points=[humped(point) for point in record.points])
        if "D2-end-2" in record.run_id
        else record
        for record in records_of()
    ]
    results = judged(records)
    assert results["B"].verdict == results["control: dense"].verdict == "supported"
    said = "by the objective instead of the loss: "
    assert f"{said}contradicted" in results["control: dense"].note
    for name in ("B", "C", "C1"):
        assert f"{said}undecided: search too weak" in results[name].note


def test_a_seed_without_a_gap_is_named_and_fails():
    none = dataclasses.replace(CLEAR, scratch_loss=0.081)
    results = judged(records_of(none))
    assert results["B"].verdict == results["C"].verdict == "contradicted"
    assert "no gap in seed 31, 32, 33, 34, 35, 36, counted as failing" in results["B"].note


def test_a_path_that_was_measured_too_coarsely_decides_nothing():
    def is_start(record):
        return record.run_id.startswith("path-S-start-P-end")

    margin = 0.023
    near = changed(records_of(), is_start, descent_standard_error=margin)
    exact = changed(records_of(), is_start, descent_standard_error=0.1 * margin)
    results = judged(near)
    assert results["A: scratch:start"].verdict_words == "undecided: measured too coarsely"
    assert "measured too coarsely in seed 31, 32" in results["A: scratch:start"].note
    assert results["A"].verdict_words == "undecided: measured too coarsely"
    assert judged(exact)["A"].verdict == "supported"


def test_remarks_of_the_parts_of_a_say_which_part_they_are_of():
    effects = dataclasses.replace(CLEAR)
    kept = [record for record in records_of(effects) if "path-L-start" not in record.run_id]
    note = judged(kept)["A"].note
    assert (
        "A: lottery:start: missing: line lottery:start to prune:end at sparsity 0.98 of seed 31"
        in note
    )


def test_the_controls_of_a_stand_in_its_table_and_decide_nothing():
    kept = [record for record in records_of() if "path-S-start-S-end" not in record.run_id]
    results = judged(kept)
    assert results["A"].verdict == "supported"
    assert results["A: control dense:start to dense:end"].verdict == "supported"
    assert results["A: control scratch:start to scratch:end"].verdict == "undecided"


def test_holms_p_covers_the_claims_of_the_table():
    results = judge_all(records_of(), headline_sparsity=HEADLINE_SPARSITY)
    assert {result.claim for result in results if result.adjusted_p is not None} == set(CLAIMS)
    for result in results:
        assert result.p <= result.adjusted_p <= min(1.0, 10 * result.p)
    assert results[0].p == pytest.approx(2 * 0.5**6)


def test_records_of_rules_1_are_judged_by_rules_1_and_cannot_be_by_rules_2():
    records = simulated_records(SIX[:3], grid=ENDS_AND_MIDDLE)
    assert "positive control" in judged(records)
    with pytest.raises(UserError, match="of rules 1 and does not say how many classes"):
        judged(records, rules=2)
    with pytest.raises(UserError, match="cannot be compared: rules is"):
        judged([*records, *records_of(seeds=[40])])


def test_without_a_control_in_the_mask_b_stays_open():
    kept = [record for record in records_of() if "0.8" not in record.run_id]
    results = judged(kept)
    assert results["control: in the mask"].note.startswith(
        "missing: scratch:end to prune:end at a lower"
    )
    assert results["B"].verdict_words == "undecided: search too weak"
    assert results["C"].verdict == "supported"


def test_records_of_rules_2_can_be_judged_by_rules_1_for_comparison():
    assert judged(records_of(), rules=1)["C2"].rules == 1


def test_the_json_says_by_which_rules_and_what_each_seed_gave():
    read = json.loads(to_json(judge_all(records_of(), headline_sparsity=HEADLINE_SPARSITY)))
    b = read[1]
    assert b["rules"] == 2
    assert set(b["by_seed"]) == {str(seed) for seed in SIX}
    assert 0.15 < b["by_seed"]["31"] < 0.4
    of_rules_1 = judge_all(simulated_records(SIX[:3]), headline_sparsity=HEADLINE_SPARSITY)
    assert "rules" not in json.loads(to_json(of_rules_1))[0]
