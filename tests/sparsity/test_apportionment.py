from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.sparsity.apportionment import apportioned
from tests.reference.swaps import handed_out

PARTS = st.lists(
    st.tuples(st.integers(1, 50), st.integers(0, 40)), min_size=1, max_size=6
)  # share, limit


@given(PARTS, st.data())
def test_numbers_are_those_that_are_handed_out_one_by_one(parts, data):
    shares, limits = zip(*parts, strict=True)
    total = data.draw(st.integers(0, sum(limits)))
    numbers = apportioned(total, shares, limits)
    assert numbers == handed_out(total, list(map(Fraction, shares)), limits)
    assert sum(numbers) == total
    assert all(0 <= number <= limit for number, limit in zip(numbers, limits, strict=True))


def test_layers_that_count_for_nothing_get_what_the_others_have_no_room_for():
    assert apportioned(7, [1.0, 0.0, 0.0], [3, 9, 9]) == [3, 2, 2]


def test_more_than_the_limits_hold_cannot_be_shared_out():
    with pytest.raises(ValueError, match="cannot share out 3 below limits of 2 together"):
        apportioned(3, [1.0, 1.0], [1, 1])
