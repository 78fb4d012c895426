import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.sparsity.schedules import cubic_sparsity

fractions = st.floats(0, 1)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (10, 0.0),
        (12, 0.8 * (1 - 0.8**3)),  # a fifth of the way: 0.3904
        (15, 0.7),  # half way: 7/8 of 0.8
        (20, 0.8),
        (10**6, 0.8),
    ],
)
def test_values_by_hand(step, expected):
    value = cubic_sparsity(step, start=10, end=20, initial=0.0, final=0.8)
    assert value == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 50), st.integers(1, 50), fractions, fractions)
def test_both_ends_are_exact_and_hold_outside(start, length, initial, final):
    def at(step):
        return cubic_sparsity(step, start=start, end=start + length, initial=initial, final=final)

    assert at(start) == at(start - 1) == initial
    assert at(start + length) == at(start + length + 7) == final


@given(st.integers(1, 60), fractions)
def test_sparsity_never_falls_and_its_increments_shrink(length, final):
    values = [
        cubic_sparsity(step, start=0, end=length, initial=0.0, final=final)
        for step in range(length + 1)
    ]
    increments = [later - earlier for earlier, later in itertools.pairwise(values)]
    assert min(increments) >= -1e-12
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(increments))


@pytest.mark.parametrize("end", [4, 5])
def test_an_end_that_is_not_after_the_start_is_refused(end):
    with pytest.raises(ValueError, match="not after start"):
        cubic_sparsity(0, start=5, end=end, initial=0.0, final=0.5)
