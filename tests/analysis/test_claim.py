import json
import math

import pytest

from lightning_sparse.analysis.claim import Claim, Evidence, to_json

VERDICTS = ("supported", "not supported", "undecided")


def claim(side="above", scale="natural"):
    return Claim(name="X", statement="x", rule="r", unit="u", side=side, scale=scale)


def evidence(values, **changes):
    fields = {"on_objective": {}, "records": ["run-1"]} | changes
    return Evidence(values=dict(enumerate(values, start=11)), **fields)


@pytest.mark.parametrize(
    ("values", "above", "below"),
    [
        ([1.0, 1.1, 1.2], "supported", "not supported"),
        ([-1.0, -1.1, -1.2], "not supported", "supported"),
        ([-1.0, 0.1, 1.2], "undecided", "undecided"),
        ([0.5, 0.5, 0.5], "supported", "not supported"),
        ([0.0, 0.0, 0.0], "undecided", "undecided"),
        # What is left of 0.1 + 0.2 - 0.3 is rounding and decides nothing.
        ([0.1 + 0.2 - 0.3] * 3, "undecided", "undecided"),
    ],
)
def test_the_whole_interval_must_be_on_one_side(values, above, below):
    assert claim("above").judge(evidence(values)).verdict == above
    assert claim("below").judge(evidence(values)).verdict == below


def test_logarithms_are_reported_as_ratios():
    result = claim(scale="log").judge(evidence([math.log(2), math.log(8)]))
    assert result.estimate == pytest.approx(4)
    # Deviation log(4)/sqrt(2), quantile 12.7062: half width 12.7062 * log(4) / 2.
    assert result.interval == pytest.approx((4 / 4**6.3531, 4 * 4**6.3531), rel=1e-3)


def test_a_natural_scale_is_reported_as_it_is():
    result = claim().judge(evidence([1.0, 2.0, 3.0]))
    assert result.estimate == 2
    assert result.interval == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert (result.seeds, result.num_seeds) == ((11, 12, 13), 3)


@pytest.mark.parametrize(("values", "estimate"), [([], None), ([5.0], 5.0)])
def test_below_two_seeds_nothing_is_decided(values, estimate):
    result = claim().judge(evidence(values))
    assert (result.verdict, result.estimate, result.interval) == ("undecided", estimate, None)
    assert result.note == f"seeds: {len(values)}, an interval needs 2"


def test_missing_evidence_leaves_it_open_however_clear_the_rest_is():
    result = claim().judge(evidence([1.0, 1.1, 1.2], missing=["prune:end of seed 14"]))
    assert result.verdict == "undecided"
    assert result.interval[0] > 0
    assert result.note == "missing: prune:end of seed 14"


def test_the_objective_is_judged_beside_the_loss_and_never_instead():
    result = claim().judge(
        evidence([1.0, 1.1, 1.2], on_objective={11: -1.0, 12: -1.1, 13: -1.2}, remarks=["so"])
    )
    assert result.verdict == "supported"
    assert result.note == (
        "by the objective instead of the loss: not supported, -1.1 [-1.35, -0.852]; so"
    )


def parts_of(whole, **values):
    return [whole.part(name, name).judge(evidence(each)) for name, each in values.items()]


def test_a_claim_needs_all_its_parts():
    yes, no, open_ = [1.0, 1.1, 1.2], [-1.0, -1.1, -1.2], [-1.0, 0.0, 1.0]
    whole = claim()
    assert whole.combine(parts_of(whole, a=yes, b=yes)).verdict == "supported"
    assert whole.combine(parts_of(whole, a=yes, b=open_)).verdict == "undecided"
    assert whole.combine(parts_of(whole, a=yes, b=open_, c=no)).verdict == "not supported"


@pytest.mark.parametrize(("side", "sign"), [("above", 1), ("below", -1)])
def test_the_whole_shows_its_weakest_part(side, sign):
    whole = claim(side)
    parts = parts_of(
        whole, a=[sign * x for x in (5.0, 5.1, 5.2)], b=[sign * x for x in (1.0, 1.1, 1.2)]
    )
    result = whole.combine(parts)
    assert (result.verdict, result.estimate) == ("supported", parts[1].estimate)
    assert result.interval == parts[1].interval
    assert result.note == "weakest part is X: b"


def test_what_is_remarked_of_several_parts_is_said_once():
    whole = claim()
    result = whole.combine(parts_of(whole, a=[1.0], b=[1.1]))
    assert result.note == "weakest part is X: a; seeds: 1, an interval needs 2"


def test_the_numbers_of_the_whole_explain_its_verdict():
    # b is nearer to zero, but a is what leaves the claim open.
    whole = claim()
    parts = parts_of(whole, a=[0.0, 1.0, 2.0], b=[0.1, 0.11, 0.12])
    result = whole.combine(parts)
    assert (result.verdict, result.interval) == ("undecided", parts[0].interval)


def test_a_part_without_numbers_is_the_weakest():
    whole = claim()
    parts = [
        whole.part("a", "a").judge(evidence([-1.0, 0.0, 1.0])),
        whole.part("b", "b").judge(evidence([], missing=["everything"])),
    ]
    result = whole.combine(parts)
    assert (result.verdict, result.estimate, result.num_seeds) == ("undecided", None, 0)
    assert "missing: everything" in result.note


def test_records_are_named_once():
    whole = claim()
    parts = [
        whole.part(name, name).judge(evidence([1.0, 2.0], records=ids))
        for name, ids in {"a": ["r1", "r2", "r1"], "b": ["r2", "r3"]}.items()
    ]
    assert parts[0].records == ("r1", "r2")
    assert whole.combine(parts).records == ("r1", "r2", "r3")


def test_the_json_form_is_what_was_promised():
    whole = claim()
    result = whole.combine(parts_of(whole, a=[1.0, 1.1, 1.2]))
    (body,) = json.loads(to_json([result]))
    (part,) = body["parts"]
    assert list(body) == list(part)
    assert set(body) == {
        "claim", "statement", "verdict", "estimate", "interval", "unit", "num_seeds", "seeds",
        "rule", "note", "parts", "records",
    }  # fmt: skip
    assert (part["claim"], part["parts"], part["seeds"]) == ("X: a", [], [11, 12, 13])
    assert body["interval"] == pytest.approx([0.8516, 1.3484], abs=1e-4)
    assert body["verdict"] in VERDICTS


def test_without_an_interval_the_json_says_null():
    (body,) = json.loads(to_json([claim().judge(evidence([]))]))
    assert (body["estimate"], body["interval"], body["num_seeds"]) == (None, None, 0)
