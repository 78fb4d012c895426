import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.sparsity.packed_masks import (
    _packed_by_shifts,
    masks_hash,
    pack_mask,
    pack_masks,
    unpack_mask,
    unpack_masks,
)
from tests.sparsity.problems import random_mask

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(shapes, st.integers(0, 100))
def test_unpacking_undoes_packing(shape, seed):
    mask = random_mask(shape, seed)
    packed = pack_mask(mask)
    assert packed.numel() == -(-mask.numel() // 8)
    assert torch.equal(unpack_mask(packed, shape), mask)


def test_bits_are_packed_row_by_row_from_the_highest():
    mask = torch.tensor([[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]).bool()
    assert pack_mask(mask).tolist() == [0b10001001, 0b10000000]
    assert pack_mask(mask.t().contiguous().t()).tolist() == [0b10001001, 0b10000000]


@given(shapes, st.integers(0, 100))
def test_where_no_numpy_is_bits_are_packed_alike(shape, seed):
    mask = random_mask(shape, seed)
    assert torch.equal(_packed_by_shifts(mask), pack_mask(mask))
    assert torch.equal(_packed_by_shifts(mask.movedim(0, -1)), pack_mask(mask.movedim(0, -1)))


def test_all_masks_are_packed_as_each_alone_and_come_back():
    masks = {"b": random_mask((5, 3)), "a": random_mask((17,), seed=1)}
    packed = pack_masks(masks)
    assert list(packed) == ["b", "a"]
    assert {name: mask["shape"] for name, mask in packed.items()} == {"b": [5, 3], "a": [17]}
    assert all(torch.equal(packed[name]["bits"], pack_mask(mask)) for name, mask in masks.items())
    unpacked = unpack_masks(packed)
    assert all(torch.equal(unpacked[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("shape", [(9, 2), (3,)])
def test_bytes_that_cannot_hold_the_shape_are_refused(shape):
    with pytest.raises(ValueError, match="cannot hold"):
        unpack_mask(torch.zeros(2, dtype=torch.uint8), shape)


def test_the_hash_is_the_same_on_every_machine():
    masks = {"a": torch.tensor([True, False]), "b": torch.tensor([[True], [True]])}
    assert masks_hash(masks) == ("5486daad8b929d9f9bf40eb8278b0a3d6f590d8c6945458c2a37c7814855e43f")


def test_the_hash_ignores_the_order_of_layers():
    masks = {"a": random_mask((3, 4)), "b": random_mask((5,))}
    assert masks_hash(masks) == masks_hash(dict(reversed(masks.items())))


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([True, True, False, False])},
        {"b": torch.tensor([True, False, False, False])},
        {"a": torch.tensor([[True, False], [False, False]])},
        {"a": torch.tensor([True, False, False, False, False])},
    ],
    ids=["bit", "name", "shape", "trailing zero"],
)
def test_the_hash_tells_bits_names_and_shapes_apart(other):
    assert masks_hash(other) != masks_hash({"a": torch.tensor([True, False, False, False])})
