"""B+ on simulated seeds of known truth: the least of everything that was searched decides."""

from itertools import product

import numpy as np
import pytest

from lightning_sparse.analysis.claims import b_stronger_search
from lightning_sparse.analysis.claims.search_controls import DENSE_ROUTES, IN_MASK_ROUTES
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.laboratory import laboratory
from lightning_sparse.analysis.power import fewest_holding
from lightning_sparse.analysis.stronger_search import (
    CHAINS,
    CURVES,
    SEARCHED,
    strongest_first,
    with_steps,
)
from lightning_sparse.paths.curves import PolygonalChain
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    evaluation,
    path_points,
    simulated_path,
)

START, END = evaluation(0.16), evaluation(0.04)
SEEDS = range(31, 37)
TIMES = (4,)


def records(rise, seeds=SEEDS, without=None, start=START):
    """Everything that B+ searches: ``rise`` says of a route and a seed how far it climbs."""
    found = []
    for seed in seeds:
        for route in with_steps(TIMES):
            if (route, seed) == without:
                continue
            points = path_points(start, END, rise(route, seed), grid=ENDS_AND_MIDDLE)
            is_line = not route.is_fitted
            found.append(
                simulated_path(
                    route.start, route.end, seed, points=points, rules=2, num_classes=10,
                    curve=route.curve, space="dense" if is_line else "end_mask",
                    fit_objective=None if is_line else 0.4, search_seed=route.search,
                    steps_multiplier=route.times if route.times > 1 else None,
                    run_id=f"{route.name}-{seed}",
                )
            )  # fmt: skip
    return ExperimentRecords.from_records(found)


def controls(flat, seeds=SEEDS):
    """Both controls of some seeds: a line with a barrier, and a curve that has one in the others.

    ``flat`` are the seeds in which the search finds the flat curve that is there.
    """
    for seed in seeds:
        for name, routes, sparsity in (
            ("dense", DENSE_ROUTES, HEADLINE_SPARSITY), ("mask", IN_MASK_ROUTES, 0.8),
        ):  # fmt: skip
            for route in routes:
                rise = 1.0 if not route.is_fitted else 0.001 if seed in flat else 0.5
                yield simulated_path(
                    route.start, route.end, seed, degree=2 if route.is_fitted else 1,
                    space="dense" if name == "dense" else "end_mask", rules=2, num_classes=10,
                    points=path_points(END, END, rise, grid=ENDS_AND_MIDDLE),
                    target_sparsity=sparsity, run_id=f"{name}-{route.name}-{seed}",
                )  # fmt: skip


def in_laboratory(*paths):
    found = judge_all(
        [*paths],
        headline_sparsity=HEADLINE_SPARSITY,
        rules=laboratory(control="cyclic", detour="burst"),
    )
    return {result.claim: result for result in found}


def judged(experiment):
    return b_stronger_search.judge(experiment, headline_sparsity=HEADLINE_SPARSITY)


def test_it_asks_for_everything_that_the_protocol_names_by_the_names_of_its_curves():
    assert [PolygonalChain(bends, reinsertions=bends).name for bends in (5, 9)] == [*CHAINS]
    assert CURVES[:3] == ("quadratic curve", "cubic curve", "curve of degree 5")
    assert len(SEARCHED) == 5 * 3
    assert len(with_steps((4, 16))) == 1 + 3 * 15


def test_one_fit_that_leads_down_in_a_seed_is_enough_to_lose_it():
    climbing = judged(records(lambda *_: 0.2))
    assert (climbing.verdict, climbing.estimate, climbing.num_seeds) == ("supported", 1.0, 6)
    last = SEARCHED[-1]._replace(times=4)
    lost = judged(records(lambda route, _: 0.01 if route == last else 0.2))
    assert (lost.verdict, lost.estimate) == ("contradicted", 0.0)
    assert lost.by_seed[31] == pytest.approx(0.01)


def test_a_seed_that_one_fit_has_lost_needs_no_other_but_the_line():
    ways = records(lambda route, _: 0.01 if route == SEARCHED[-1] else 0.2)
    kept = [path for path in ways.paths if path.curve in {CHAINS[-1], "straight line"}]
    found = judged(ExperimentRecords.from_records(kept))
    assert (found.verdict, found.num_seeds, found.estimate) == ("contradicted", 6, 0.0)
    assert "missing" not in found.note
    # Where no fit leads down, all are needed, and so is the line, which tells of the gap.
    climbing = records(lambda *_: 0.2).paths
    kept = [path for path in climbing if path.curve in {CHAINS[-1], "straight line"}]
    assert judged(ExperimentRecords.from_records(kept)).num_seeds == 0
    kept = [path for path in ways.paths if path.is_fitted]
    assert judged(ExperimentRecords.from_records(kept)).num_seeds == 0


def test_the_strongest_are_searched_first():
    ordered = strongest_first((4, 16))
    every = [route for restarts in ordered for route in restarts]
    assert len(every) == 45
    assert {*every} == {route for route in with_steps((4, 16)) if route.is_fitted}
    assert {(route.times, route.curve) for route in ordered[0]} == {(16, CHAINS[-1])}
    assert {(route.times, route.curve) for route in ordered[-1]} == {(1, CURVES[0])}


def test_what_was_not_searched_leaves_it_open_and_a_seed_without_a_gap_fails():
    missing = (SEARCHED[3]._replace(times=4), 33)
    found = judged(records(lambda *_: 0.2, without=missing))
    assert found.verdict == "undecided"
    assert "4 times the steps, search None" not in found.note
    assert "missing: sparse cubic scratch:end to prune:end, 4 times the steps" in found.note
    flat = judged(records(lambda *_: 0.2, start=evaluation(0.05)))
    assert (flat.verdict, flat.estimate) == ("contradicted", 0.0)
    assert "no gap in seed 31" in flat.note


def test_it_hangs_on_both_controls_in_the_seeds_that_are_searched():
    searched = records(lambda *_: 0.2).paths
    # A seed that is not searched has none, and needs none.
    other = [path for path in records(lambda *_: 0.2, [37]).paths if not path.is_fitted]
    passed = in_laboratory(*searched, *other, *controls(SEEDS))
    assert passed["control: dense"].num_seeds == passed["control: in the mask"].num_seeds == 6
    assert passed["B+"].verdict_words == "supported"
    failed = in_laboratory(*searched, *other, *controls(SEEDS[:3]))
    assert failed["B+"].verdict_words == "undecided: search too weak"
    assert "control: in the mask is undecided" in failed["B+"].note
    assert "alone would say supported" in failed["B+"].note
    lacking = in_laboratory(*searched)
    assert lacking["B+"].verdict_words == "undecided: search too weak"
    # Where nothing is searched, no control was asked for.
    assert "control: dense" not in in_laboratory(*other)


def test_what_would_decide_it_is_said_by_the_setting_that_says_how_many_are_searched():
    """Of seven seeds that the laboratory has, four were searched."""
    few, others = SEEDS[:4], [35, 36, 37]
    lines = [path for path in records(lambda *_: 0.2, others).paths if not path.is_fitted]
    found = in_laboratory(*records(lambda *_: 0.2, few).paths, *lines, *controls(few, few))
    assert found["control: dense"].outlook == (
        "at the effect seen, 6 seeds would decide it with a chance of 80 %: make laboratory "
        "EXPERIMENT=simulated SEEDS=31,32,33,34,35,36,37 ARGS=laboratory.num_seeds_of_search=6"
    )


def rates(share, number=200):
    """How often each verdict comes out where a way is there in a share of all seeds."""
    verdicts = []
    for place in range(number):
        generator = np.random.default_rng([place, 7])
        has_way = {seed: generator.random() < share for seed in SEEDS}
        chain = SEARCHED[-1]
        experiment = records(
            lambda route, seed, ways=has_way, chain=chain: (
                0.01 if route == chain and ways[seed] else 0.2
            )
        )
        verdicts.append(judged(experiment).verdict)
    return {one: verdicts.count(one) / number for one in set(verdicts)}


def test_a_way_in_half_of_all_seeds_is_rarely_decided_and_one_in_few_mostly():
    """Six seeds: power of 80 % needs a way in at most 3 % of all seeds; exact tests."""
    even = rates(0.5)
    assert max(even.get("supported", 0), even.get("contradicted", 0)) <= 0.05
    assert rates(0.03, 60).get("supported", 0) >= 0.8


def test_two_looks_at_it_decide_a_way_in_half_of_all_seeds_as_rarely_as_the_protocol_says():
    """First six seeds, then ten where these decide nothing: every course of ten seeds."""

    def is_decided(ways, number):
        found = sum(ways[:number])
        return max(found, number - found) >= fewest_holding(number)

    courses = [*product([False, True], repeat=10)]
    decided = sum(is_decided(ways, 6) or is_decided(ways, 10) for ways in courses)
    assert decided / len(courses) == pytest.approx(0.043, abs=5e-4)
