"""The judges of the laboratory on simulated seeds of known truth: ten of them, as it asks for."""

import functools

import numpy as np
import pytest

from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.laboratory import laboratory, speaking
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


def records(generator, losses, barrier):
    """All runs of ten seeds at these losses, and the lines of E2 and I2 with a barrier."""
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
    return ExperimentRecords.from_records(found)


def losses(*, burst, signs, null=SCRATCH):
    return {
        "prune": PRUNED, "scratch": SCRATCH, "cyclic": 0.1, "burst": burst, "signs": signs,
        "signs_shuffled": null,
    }  # fmt: skip


def high(generator):
    return 0.2 + 0.05 * generator.random()


def low(generator):
    return 0.005 * generator.random()


def even(generator):
    """In half of the seeds there is a barrier: a share of exactly 1/2."""
    return high(generator) if generator.random() < 0.5 else 0.0


TRUTHS = {
    # By how much each is true: a quarter off the loss, half of what is left of the gap; all lines.
    "true": (losses(burst=0.075, signs=HALFWAY * 0.75), low),
    # False by so little that nothing but the interval can tell.
    "even": (losses(burst=0.1, signs=HALFWAY), even),
    "false": (losses(burst=0.133, signs=HALFWAY / 0.75), high),
    "null too": (losses(burst=0.1, signs=0.05, null=0.05), high),
}


@functools.cache
def verdicts(truth):
    """How often each verdict came out, by claim."""
    counted, num_experiments = {}, 300 if truth == "even" else 60
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


@pytest.mark.parametrize("claim", ["E1", "E2", "I1", "I2"])
def test_what_is_true_is_supported_and_what_is_false_contradicted(claim):
    assert verdicts("true")[claim].get("supported", 0) >= 0.8
    assert verdicts("false")[claim].get("contradicted", 0) >= 0.8


@pytest.mark.parametrize("claim", ["E1", "E2", "I1", "I2"])
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
    names = [[one.claim for one in group] for group in speaking(true, "time")]
    assert names == [[], ["E1"], []]
    assert [one.claim for one in speaking(false, "time")[0]] == ["E1"]
    assert [one.claim for one in speaking(true, "start")[0]] == ["I1", "I2"]
    assert [one.claim for one in speaking(false, "subspace")[1]] == ["E1", "E2"]
