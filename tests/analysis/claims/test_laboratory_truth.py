"""The judges of the laboratory on simulated seeds of known truth: ten of them, as it asks for."""

import dataclasses
import functools

import numpy as np
import pytest

from lightning_sparse.analysis.claims import g_descent
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.laboratory import laboratory, speaking
from lightning_sparse.records import PathPoint
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    evaluation,
    path_points,
    simulated_path,
    simulated_run,
)

RULES = laboratory(control="cyclic", detour="burst")
SEEDS = range(31, 41)
# Of the logarithm of a training loss over seeds: about what digits has at 98 % sparsity.
SPREAD = 0.15

SCRATCH, PRUNED = 0.16, 0.04
HALFWAY = (SCRATCH * PRUNED) ** 0.5

# Of the logarithm of a decrease along a ray, over seeds; the ratio of ratios scatters by twice it.
SPREAD_OF_RAYS = 0.4


def rays(generator, seed, promise):
    """Go down from both points: off over in is 3 at the pruned solution, ``promise`` times at S."""
    for point, ratio in (("scratch", 3 * promise), ("prune", 3.0)):
        for ray, middle in (("inside", 0.002), ("outside", 0.002 * ratio)):
            fall = middle * float(np.exp(SPREAD_OF_RAYS * generator.standard_normal()))
            points = [
                PathPoint(t=t, train=evaluation(loss), test=evaluation(loss))
                for t, loss in ((0.0, 0.2), (0.01, 0.2 - fall), (1.0, 3.0))
            ]
            yield simulated_path(
                f"{point}:end", f"{point}:end", seed, points=points, rules=2, num_classes=10,
                run_id=f"ray-{point}-{ray}-seed{seed}", start_run=f"{point}-seed{seed}",
                end_run=f"{point}-seed{seed}", ray=ray,
            )  # fmt: skip


def records(generator, losses, barrier, promise):
    """All runs of ten seeds at these losses, the lines of E2 and I2 with a barrier, and the rays.

    Args:
        generator: What scatters over seeds.
        losses: By arm.
        barrier: Of a line, drawn from the generator.
        promise: How many times as much of the decrease lies outside at scratch:end.
    """
    found = []
    for seed in SEEDS:
        ends = {}
        for arm, loss in losses.items():
            ends[arm] = evaluation(loss * float(np.exp(SPREAD * generator.standard_normal())))
            found.append(
                simulated_run(
                    arm, seed, HEADLINE_SPARSITY, train=ends[arm], test=ends[arm],
                    run_id=f"{arm}-seed{seed}", mask_source=None,
                )
            )  # fmt: skip
        for start in ("burst", "signs"):
            height = max(0.0, ends["prune"].loss - ends[start].loss) + barrier(generator)
            points = path_points(ends[start], ends["prune"], height, grid=ENDS_AND_MIDDLE)
            found.append(
                simulated_path(
                    f"{start}:end", "prune:end", seed, points=points, rules=2, num_classes=10,
                    run_id=f"line-{start}-seed{seed}", start_run=f"{start}-seed{seed}",
                    end_run=f"prune-seed{seed}",
                )
            )  # fmt: skip
        found += rays(generator, seed, promise)
    return ExperimentRecords.from_records(found)


def losses(*, burst, signs, null=SCRATCH):
    return {
        "prune": PRUNED, "scratch": SCRATCH, "cyclic": 0.1, "burst": burst, "signs": signs,
        "signs_shuffled": null, "burst_reprune": burst,
    }  # fmt: skip


def high(generator):
    return 0.2 + 0.05 * generator.random()


def low(generator):
    return 0.005 * generator.random()


def even(generator):
    """In half of the seeds there is a barrier: a share of exactly 1/2."""
    return high(generator) if generator.random() < 0.5 else 0.0


TRUTHS = {
    # By how much each is true: a quarter off the loss, half of what is left of the gap; all lines;
    # outside the mask three times as much of the decrease as at the pruned solution.
    "true": (losses(burst=0.075, signs=HALFWAY * 0.75), low, 3.0),
    # False by so little that nothing but the interval can tell.
    "even": (losses(burst=0.1, signs=HALFWAY), even, 1.0),
    "false": (losses(burst=0.133, signs=HALFWAY / 0.75), high, 1 / 3),
    "null too": (losses(burst=0.1, signs=0.05, null=0.05), high, 1.0),
}


@functools.cache
def verdicts(truth):
    """How often each verdict came out, by claim."""
    counted, num_experiments = {}, 200 if truth == "even" else 60
    for number in range(num_experiments):
        experiment = records(np.random.default_rng([number, 1]), *TRUTHS[truth])
        for question in RULES.questions:
            of_paths = {"quantity": "loss"} if question.is_about_paths else {}
            result = question.judge(experiment, headline_sparsity=HEADLINE_SPARSITY, **of_paths)
            counted.setdefault(result.claim, []).append(result.verdict)
    return {
        claim: {one: found.count(one) / num_experiments for one in set(found)}
        for claim, found in counted.items()
    }


@pytest.mark.parametrize("claim", ["E1", "E2", "E3", "I1", "I2", "G"])
def test_what_is_true_is_supported_and_what_is_false_contradicted(claim):
    assert verdicts("true")[claim].get("supported", 0) >= 0.8
    assert verdicts("false")[claim].get("contradicted", 0) >= 0.8


@pytest.mark.parametrize("claim", ["E1", "E2", "E3", "I1", "I2", "G"])
def test_what_is_neither_is_rarely_decided(claim):
    even = verdicts("even")[claim]
    # 2.5 % are expected on either side; at most 5 % may be.
    assert even.get("supported", 0) <= 0.05
    assert even.get("contradicted", 0) <= 0.05


def test_signs_say_nothing_where_shuffled_signs_would_do():
    assert verdicts("null too")["I1"] == {"undecided": 1.0}


def test_what_speaks_for_an_explanation_turns_round_with_the_verdict():
    (true, false) = (
        RULES.judge(records(np.random.default_rng(0), *TRUTHS[truth]), HEADLINE_SPARSITY)
        for truth in ("true", "false")
    )
    names = [[one.claim for one in group] for group in speaking(RULES.questions, true, "time")]
    assert names == [[], ["E1"], []]
    # That a detour does not help is no reason to think that more time would.
    assert speaking(RULES.questions, false, "time") == ([], [], [])
    assert [one.claim for one in speaking(RULES.questions, true, "start")[0]] == ["I1", "I2"]
    assert [one.claim for one in speaking(RULES.questions, false, "subspace")[1]] == [
        "E1",
        "E2",
        "G",
    ]


def with_flat_rays(seeds):
    """Records in which G is true, and in some seeds nothing falls inside the mask of S."""
    experiment = records(np.random.default_rng(0), *TRUTHS["true"])
    flat = [PathPoint(t=t, train=evaluation(0.2), test=evaluation(0.2)) for t in (0.0, 1.0)]
    chosen = {f"ray-scratch-inside-seed{seed}" for seed in seeds}
    paths = [
        dataclasses.replace(path, points=flat) if path.run_id in chosen else path
        for path in experiment.paths
    ]
    return ExperimentRecords.from_records([*experiment.runs, *paths])


def test_a_seed_without_a_way_down_is_named_and_more_than_one_in_five_leave_it_open():
    two, three = (
        g_descent.judge(with_flat_rays(seeds), headline_sparsity=HEADLINE_SPARSITY, quantity="loss")
        for seeds in ((31, 32), (31, 32, 33))
    )
    assert (two.verdict, two.num_seeds) == ("supported", 8)
    assert "no descent on a ray of seed 31, 32" in two.note
    assert (three.verdict, three.qualifier) == ("undecided", ": no descent")


def test_a_ray_that_was_not_measured_is_missing():
    experiment = records(np.random.default_rng(0), *TRUTHS["true"])
    fewer = [path for path in experiment.paths if path.run_id != "ray-prune-outside-seed33"]
    result = g_descent.judge(
        ExperimentRecords.from_records([*experiment.runs, *fewer]),
        headline_sparsity=HEADLINE_SPARSITY,
        quantity="loss",
    )
    assert result.verdict == "undecided"
    assert "missing: ray outside from prune:end at sparsity 0.98 of seed 33" in result.note
