import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.sparsity.view import SparseView

MASKS = {"a": torch.tensor([True, False, False]), "b": torch.tensor([[True]])}
WEIGHTS = {"b": torch.ones(1, 1), "a": torch.ones(3)}


def test_the_given_masks_hold_from_the_first_step_to_the_last():
    method = GivenMask(masks=MASKS)
    masks = method.initial_masks(SparseView.at_start(WEIGHTS))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "a": [True, False, False],
        "b": [[True]],
    }
    assert method.updated_masks(SparseView(step=7, weights=WEIGHTS, masks=masks)) is masks
    assert not any(method.is_due(step) for step in range(100))


def test_masks_come_in_the_order_and_on_the_device_of_the_weights():
    weights = {name: weight.to("meta") for name, weight in WEIGHTS.items()}
    masks = GivenMask(masks=MASKS).initial_masks(SparseView.at_start(weights))
    assert [(name, mask.device.type) for name, mask in masks.items()] == [
        ("b", "meta"),
        ("a", "meta"),
    ]


def test_the_target_is_what_the_masks_measure():
    assert GivenMask(masks=MASKS).target_sparsity(0) == 0.5


def test_masks_of_another_network_are_refused():
    with pytest.raises(UserError, match=r"'a' has a mask of shape \(3,\) for .* shape \(4,\)"):
        GivenMask(masks=MASKS).initial_masks(
            SparseView.at_start({"a": torch.ones(4), "b": torch.ones(1, 1)})
        )


def test_masks_that_leave_a_layer_out_are_refused():
    with pytest.raises(UserError, match="the masks lack 'c'"):
        GivenMask(masks=MASKS).initial_masks(SparseView.at_start(WEIGHTS | {"c": torch.ones(1)}))
