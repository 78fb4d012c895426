import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.masks import layer_counts, num_kept
from lightning_sparse.sparsity.methods.random_mask import RandomMask
from tests.sparsity.simulation import SHAPES, same_masks, simulate


@pytest.mark.parametrize("distribution", [Uniform(), Uniform(first_layer=0.0), ErdosRenyiKernel()])
def test_each_layer_keeps_its_exact_number_anywhere_and_for_good(distribution):
    method = RandomMask(sparsity=0.8, distribution=distribution)
    shares = distribution.layer_sparsities(SHAPES, 0.8)
    start, *others = simulate(method, 5)
    assert {name: layer.kept for name, layer in layer_counts(start.after).items()} == {
        name: num_kept(start.weights[name].numel(), shares[name]) for name in SHAPES
    }
    assert all(change.after is start.after for change in others)
    assert not same_masks(start.after, next(simulate(method, 1, seed=5)).after)
    assert method.target_sparsity(3) == 0.8


def test_percent_is_refused():
    with pytest.raises(UserError, match=r"^sparsity=80: must be a fraction"):
        RandomMask(sparsity=80, distribution=Uniform())
