"""Triples of seeds, of which some are of one truth and some of another."""

import dataclasses

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.report.blocks import Badge
from lightning_sparse.report.claims_tables import triples_sentence, triples_table
from tests.analysis.simulate import ENDS_AND_MIDDLE, HEADLINE_SPARSITY, simulated_records
from tests.analysis.test_judge import CLEAR

RISING = dataclasses.replace(CLEAR, start_rise=1.0)


def records_of(seeds, effects=CLEAR):
    return simulated_records(seeds, effects=effects, grid=ENDS_AND_MIDDLE)


def judged(records):
    return judge_triples(records, headline_sparsity=HEADLINE_SPARSITY)


def test_each_triple_is_judged_as_if_there_were_no_other_seeds():
    records = records_of(range(11, 19))
    triples = judged(records)
    assert [triple.seeds for triple in triples] == [(13, 14, 15), (16, 17, 18)]
    for triple in triples:
        own = [record for record in records if record.seed in triple.seeds]
        assert list(triple.claims) == judge_all(own, headline_sparsity=HEADLINE_SPARSITY)


def test_one_triple_is_compared_with_nothing():
    assert judged(records_of(range(11, 16))) == []


def test_a_triple_that_says_the_contrary_is_counted():
    records = [*records_of([11, 12, 13]), *records_of([14, 15, 16], RISING)]
    triples = judged(records)
    first, second = (triple.claims[0].verdict for triple in triples)
    assert (first, second) == ("supported", "not supported")
    claims = list(triples[0].claims)
    assert "of 18 verdicts 17 are those of all seeds, 1 contradict" in triples_sentence(
        claims, triples
    )
    row = triples_table(claims, triples).rows[0]
    assert row.cells == ["A", [Badge("supported")], [Badge("supported")], [Badge("not supported")]]
