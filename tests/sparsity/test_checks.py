import numpy as np
import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.checks import check_count, check_sparsity


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 0.999999])
def test_fractions_below_one_pass(value):
    check_sparsity("sparsity", value)


@pytest.mark.parametrize("value", [-0.1, 1, 1.0, 98, float("nan"), float("inf"), "0.9", None, True])
def test_other_sparsities_are_refused_with_field_value_and_remedy(value):
    with pytest.raises(UserError) as error:
        check_sparsity("sparsity", value)
    assert str(error.value).startswith(f"sparsity={value!r}: must be a fraction in [0, 1)")
    assert str(error.value).endswith("try sparsity=0.98")


@pytest.mark.parametrize("value", [0, 1.0, "1", True, None, np.int64(3)])
def test_counts_are_plain_integers_from_the_minimum_on(value):
    with pytest.raises(UserError, match=r"update_every=.*at least 1"):
        check_count("update_every", value, minimum=1)
    check_count("update_every", 1, minimum=1)
