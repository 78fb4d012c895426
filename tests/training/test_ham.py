"""HAM around a method: by hand, and in a stranger's Trainer against a loop over every weight."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.sparsity.methods.ham import HAM
from lightning_sparse.sparsity.methods.powerpropagation import Powerpropagation
from lightning_sparse.sparsity.methods.random_mask import RandomMask
from lightning_sparse.sparsity.view import SparseView
from tests.reference.ham import multiplied
from tests.training.test_reparameterised import (
    PRUNING,
    SGD,
    WARNINGS_OF_A_STRANGER,
    alike,
    batches,
    fitted,
    loss_of,
    network,
)

pytestmark = WARNINGS_OF_A_STRANGER
RANDOM = RandomMask(sparsity=0.6, distribution=Uniform())


@pytest.mark.parametrize(
    ("weight", "gradient", "expected"),
    [(0.5, 0.01, 0.409324), (-0.5, 0.01, -0.610640), (0.5, -0.01, 0.610640), (0.0, 1.0, 0.0)],
)
def test_a_weight_is_multiplied_as_worked_out_by_hand(weight, gradient, expected):
    view = SparseView(
        step=1, weights={"a": torch.tensor([weight])}, masks={},
        gradients=lambda: {"a": torch.tensor([gradient])},
    )  # fmt: skip
    moved = HAM(method=RANDOM).moved_weights(view, {"a": 0.1})["a"].item()
    assert moved == pytest.approx(expected, abs=1e-6)
    assert moved == pytest.approx(
        multiplied(weight, gradient, rate=0.1, alpha=200.0, beta=1e-3), abs=1e-7
    )


def test_the_exponent_is_kept_within_five():
    view = SparseView(
        step=1, weights={"a": torch.tensor([1.0, 1.0])}, masks={},
        gradients=lambda: {"a": torch.tensor([9.0, -9.0])},
    )  # fmt: skip
    moved = HAM(method=RANDOM).moved_weights(view, {"a": 1.0})["a"]
    torch.testing.assert_close(moved, torch.tensor([-5.0, 5.0]).exp())


def test_every_step_is_followed_by_one_that_multiplies():
    method = HAM(method=RANDOM, alpha=3.0, beta=0.01)

    state, sparsity, _ = fitted(method)

    again = network()
    weights = dict(again.named_parameters())
    masks = sparsity.masks
    for name, mask in masks.items():
        weights[name].data *= mask
    optimizer = torch.optim.SGD(again.parameters(), **SGD)
    for batch in batches():
        optimizer.zero_grad()
        loss_of(again, batch).backward()
        for name, mask in masks.items():
            weights[name].grad *= mask
        optimizer.step()
        for name in masks:
            pairs = zip(weights[name].flatten(), weights[name].grad.flatten(), strict=True)
            stepped = [
                multiplied(w.item(), g.item(), rate=SGD["lr"], alpha=3.0, beta=0.01)
                for w, g in pairs
            ]
            weights[name].data.copy_(torch.tensor(stepped).view_as(weights[name]))
    alike(state, again.state_dict())


def test_around_the_dense_method_it_is_dense():
    assert not HAM(method=Dense()).is_sparse
    assert HAM(method=RANDOM).is_sparse


def test_what_cannot_be_done_is_refused():
    with pytest.raises(UserError, match=r"^alpha=-1: must be a number of at least 0"):
        HAM(method=RANDOM, alpha=-1)
    powers = Powerpropagation(**PRUNING, distribution=Uniform())
    with pytest.raises(UserError, match=r"^method=Powerpropagation: trains other weights than"):
        HAM(method=powers)
