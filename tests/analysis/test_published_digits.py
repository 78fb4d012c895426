"""What the published seeds of digits say of the default number: three sets that share none."""

from pathlib import Path

import pytest

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.second_rules import RULES_2
from lightning_sparse.records import read_records

RECORDS = Path(__file__).parents[2] / "results" / "digits" / "records.jsonl"
DECIDED_BY_SIX = {
    "B", "C", "C1", "control: dense", "control: in the mask", "D1", "D2", "D4",
    "A: dense:start", "A: lottery:start",
}  # fmt: skip


@pytest.fixture(scope="module")
def records():
    return read_records(RECORDS)


@pytest.mark.parametrize("first", [31, 37, 43])
def test_six_seeds_decide_what_six_seeds_can_decide(records, first):
    seeds = range(first, first + 6)
    claims = judge_all(
        [record for record in records if record.seed in seeds],
        headline_sparsity=0.98,
        rules=RULES_2,
    )

    verdicts = {part.claim: part.verdict for claim in claims for part in (claim, *claim.parts)}
    assert {name: verdicts[name] for name in DECIDED_BY_SIX} == dict.fromkeys(
        DECIDED_BY_SIX, "supported"
    )
