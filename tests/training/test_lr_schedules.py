import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.training.lr_schedules import WarmupCosine, WarmupSteps

fractions = st.floats(0, 1, exclude_max=True)


@given(fractions, st.lists(fractions, max_size=3), st.integers(1, 200))
def test_factors_lie_in_the_unit_interval_also_after_the_last_step(warmup, milestones, num_steps):
    schedules = (
        WarmupCosine(warmup_fraction=warmup),
        WarmupSteps(warmup_fraction=warmup, milestones=milestones),
    )

    # LambdaLR asks once more after the last update.
    factors = [
        schedule.factor(step, num_steps) for schedule in schedules for step in range(num_steps + 1)
    ]

    assert all(0 <= factor <= 1 for factor in factors)
    assert all(type(factor) is float for factor in factors)


@given(fractions, st.integers(1, 200))
def test_the_rate_rises_to_its_peak_and_never_rises_again(warmup_fraction, num_steps):
    schedule = WarmupCosine(warmup_fraction=warmup_fraction)
    warmup_steps = round(warmup_fraction * num_steps)
    factors = [schedule.factor(step, num_steps) for step in range(num_steps + 1)]

    rising, falling = factors[:warmup_steps], factors[warmup_steps:]
    assert rising == [(step + 1) / warmup_steps for step in range(warmup_steps)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(falling))


def test_the_cosine_is_one_after_warm_up_half_in_the_middle_and_zero_at_the_end():
    schedule = WarmupCosine(warmup_fraction=0.2)

    assert [schedule.factor(step, 100) for step in (0, 19, 20)] == [1 / 20, 1.0, 1.0]
    assert schedule.factor(60, 100) == pytest.approx(0.5)
    # A quarter of the way down: (1 + cos(pi / 4)) / 2.
    assert schedule.factor(40, 100) == pytest.approx(0.8535533905932737)
    assert schedule.factor(100, 100) == 0.0


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert WarmupCosine(warmup_fraction=0.0).factor(0, 10) == 1.0
    assert WarmupSteps(warmup_fraction=0.0).factor(0, 10) == 1.0


def test_a_run_that_is_all_warm_up_has_a_rate_at_its_end():
    assert WarmupCosine(warmup_fraction=0.9).factor(1, 1) == pytest.approx(1.0)


def test_each_milestone_multiplies_the_rate_by_the_drop():
    schedule = WarmupSteps(warmup_fraction=0.1, milestones=(0.3, 0.7), drop=0.5)

    values = [schedule.factor(step, 10) for step in range(11)]

    assert values == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WarmupCosine(warmup_fraction=1.0), r"lr_schedule.warmup_fraction=1.0"),
        (lambda: WarmupCosine(warmup_fraction=-0.1), r"lr_schedule.warmup_fraction=-0.1"),
        (lambda: WarmupSteps(milestones=(0.5, 30)), r"lr_schedule.milestones=30"),
        (lambda: WarmupSteps(drop=10), r"lr_schedule.drop=10"),
    ],
)
def test_shares_outside_the_unit_interval_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
