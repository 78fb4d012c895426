"""Every judge on experiments whose truth is known, with three seeds as in the report.

The rates are over repeated experiments. A claim that is just false may be supported in at most 5 %
of them (2.5 % are expected of a two-sided 95 % interval); one that is true by the stated size must
be supported in at least 80 %.
"""

import dataclasses
import functools
import math
import statistics
from collections import Counter

import pytest

from lightning_sparse.analysis import claim
from lightning_sparse.analysis.claims import (
    a_lines_from_starts,
    b_rise_inside_mask,
    c1_dense_space_helps,
    c2_dense_curve_is_flat,
    d_end_points,
    positive_control,
)
from lightning_sparse.analysis.experiment import ExperimentRecords
from tests.analysis.simulate import (
    ENDS_AND_MIDDLE,
    HEADLINE_SPARSITY,
    Effects,
    simulated_records,
)

JUDGES = (
    a_lines_from_starts.judge,
    b_rise_inside_mask.judge,
    c1_dense_space_helps.judge,
    c2_dense_curve_is_flat.judge,
    positive_control.judge,
    *(question.judge for question in d_end_points.OF_RULES_1),
)
NAMES = (
    *("A", "A: dense:start", "A: lottery:start", "A: scratch:start"),
    *("B", "B: line", "B: quadratic", "B: cubic"),
    *("C1", "C2", "positive control", "D1", "D2", "D3", "D4"),
)
SINGLE = tuple(name for name in NAMES if name not in {"A", "B"})
NUM_EXPERIMENTS = 300

# Scatter over seeds: 25 % of a rise, 10 % of a loss, 0.3 points of an accuracy.
SCATTER = Effects(rise_spread=0.25, loss_spread=0.1, accuracy_spread=0.003)

# The effect sizes at which 80 % power is promised; tol is about 0.05 at the peaks of the curves.
TRUE = dataclasses.replace(
    SCATTER,
    start_rise=0.0,  # A: no rise at all
    sparse_line_rise=2.9,  # B: rises of about 9, 7 and 7 tol
    sparse_quadratic_rise=0.4,
    sparse_cubic_rise=0.35,
    dense_quadratic_rise=0.08,  # C1: a fifth of the sparse rise; C2: 3 % of the line's
    control_line_rise=1.1,  # positive control: 3 % of the line's
    control_quadratic_rise=0.03,
    pruned_loss=0.08,  # D2, D4: half the training loss
    scratch_loss=0.16,
    lottery_loss=0.16,
    pruned_accuracy=0.970,  # D1, D3: 2 points of test accuracy
    scratch_accuracy=0.950,
    lottery_accuracy=0.950,
)

# Each claim false, and by so little that nothing but the interval can tell.
JUST_FALSE = dataclasses.replace(
    SCATTER,
    rise_noise=0.0,
    start_loss=2.4,
    start_rise=0.275,  # tol = 0.1 * (2.4 + 0.275)
    pruned_loss=0.16,
    scratch_loss=0.16,
    lottery_loss=0.16,
    pruned_accuracy=0.95,
    scratch_accuracy=0.95,
    lottery_accuracy=0.95,
    sparse_line_rise=0.0175,  # tol = 0.1 * (0.16 + 0.0175)
    sparse_quadratic_rise=0.0175,
    sparse_cubic_rise=0.0175,
    dense_quadratic_rise=0.0182,
    control_line_rise=1.1,
    control_quadratic_rise=0.113,
)

# A rise well above tol that is the same in both spaces, and a tenth of the line's.
SAME_IN_BOTH_SPACES = dataclasses.replace(
    SCATTER, sparse_line_rise=2.9, sparse_quadratic_rise=0.3, dense_quadratic_rise=0.3
)

# Scratch against scratch with other seeds, and nothing rises anywhere but for noise.
NULL = dataclasses.replace(
    SCATTER,
    pruned_loss=0.16,
    scratch_loss=0.16,
    lottery_loss=0.16,
    pruned_accuracy=0.95,
    scratch_accuracy=0.95,
    lottery_accuracy=0.95,
    sparse_line_rise=0.0,
    sparse_quadratic_rise=0.0,
    sparse_cubic_rise=0.0,
    dense_quadratic_rise=0.0,
    loss_spread=0.01,
)


def verdict_counts(effects: Effects, num_experiments: int = NUM_EXPERIMENTS) -> Counter:
    """Count (claim, verdict) over repeated experiments of three seeds."""
    counts: Counter = Counter()
    for number in range(num_experiments):
        experiment = ExperimentRecords.from_records(
            simulated_records(
                [11, 12, 13],
                effects=effects,
                noise_seed=number,
                sparsities=[HEADLINE_SPARSITY],
                grid=ENDS_AND_MIDDLE,
            )
        )
        for judge in JUDGES:
            result = judge(experiment, headline_sparsity=HEADLINE_SPARSITY)
            counts.update((part.claim, part.verdict) for part in (result, *result.parts))
    return counts


counted_once = functools.cache(verdict_counts)


def rate(effects, name, verdict="supported"):
    return counted_once(effects)[name, verdict] / NUM_EXPERIMENTS


@pytest.mark.parametrize("name", NAMES)
def test_what_is_true_is_supported_in_four_of_five(name):
    assert rate(TRUE, name) >= 0.8


@pytest.mark.parametrize("name", NAMES)
def test_what_is_true_is_not_refuted(name):
    assert rate(TRUE, name, "not supported") == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_just_false_is_supported_in_one_of_twenty_at_most(name):
    assert rate(JUST_FALSE, name) <= 0.05


@pytest.mark.parametrize("name", SINGLE)
def test_what_is_just_false_is_mostly_left_open(name):
    assert rate(JUST_FALSE, name, "undecided") >= 0.8


@pytest.mark.parametrize("name", ["C1", "C2"])
def test_equal_rises_in_both_spaces_support_neither_c1_nor_c2(name):
    assert rate(SAME_IN_BOTH_SPACES, name) <= 0.05


@pytest.mark.parametrize("name", ["B", "B: line", "B: quadratic", "B: cubic", "C1"])
def test_paths_without_a_rise_never_support_a_barrier(name):
    assert rate(NULL, name) == 0


@pytest.mark.parametrize("name", ["D1", "D2", "D3", "D4"])
def test_scratch_against_scratch_shows_no_difference(name):
    assert rate(NULL, name) <= 0.05
    assert rate(NULL, name, "undecided") >= 0.9


@pytest.mark.parametrize(
    ("effects", "names"),
    [
        (JUST_FALSE, ["B: line", "B: quadratic", "positive control", "D1", "D2", "D3", "D4"]),
        (SAME_IN_BOTH_SPACES, ["C1", "C2"]),
    ],
)
def test_these_experiments_would_catch_an_interval_that_is_too_short(monkeypatch, effects, names):
    def normal_interval(values):
        if not values:
            return None
        half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
        return statistics.mean(values) - half, statistics.mean(values) + half

    monkeypatch.setattr(claim, "t_interval", normal_interval)
    counts = verdict_counts(effects, 150)
    rates = {name: counts[name, "supported"] / 150 for name in names}
    assert min(rates.values()) > 0.05, rates


def test_these_experiments_would_catch_a_judge_that_ignores_the_tolerance(monkeypatch):
    monkeypatch.setattr(
        b_rise_inside_mask,
        "log_rise_over_tolerance",
        lambda rises: math.log(max(rises[0].rise.value, 1e-12) / 1e-4),
    )
    assert verdict_counts(NULL, 20)["B: line", "supported"] > 0
