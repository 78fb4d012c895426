import json

import pytest
import torch
from safetensors.torch import save

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.mask_files import load_masks, save_masks
from tests.sparsity.problems import random_mask


@pytest.fixture
def masks():
    return {"conv.weight": random_mask((5, 3, 3, 3)), "a.weight": random_mask((7, 2), seed=1)}


@pytest.fixture
def masks_file(tmp_path, masks):
    file = tmp_path / "masks.safetensors"
    save_masks(masks, file)
    return file


def test_loaded_masks_equal_the_saved_ones_in_order(masks, masks_file):
    loaded = load_masks(masks_file)
    assert list(loaded) == list(masks)
    assert all(torch.equal(loaded[name], mask) for name, mask in masks.items())
    assert all(mask.dtype == torch.bool for mask in loaded.values())


def test_a_file_takes_one_bit_per_weight(tmp_path):
    save_masks({"w": random_mask((1000, 80))}, tmp_path / "masks.safetensors")
    assert 10_000 < (tmp_path / "masks.safetensors").stat().st_size < 10_500


def test_masks_of_an_empty_mapping_survive_the_file(tmp_path):
    save_masks({}, tmp_path / "masks.safetensors")
    assert load_masks(tmp_path / "masks.safetensors") == {}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors"):
        load_masks(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(masks_file, length):
    masks_file.write_bytes(masks_file.read_bytes()[:length])
    with pytest.raises(UserError, match=r"masks\.safetensors is damaged"):
        load_masks(masks_file)


def test_a_file_with_one_flipped_bit_is_refused(masks_file):
    data = bytearray(masks_file.read_bytes())
    data[-2] ^= 0b00010000
    masks_file.write_bytes(bytes(data))
    with pytest.raises(UserError, match="hash"):
        load_masks(masks_file)


@pytest.mark.parametrize("data", [b"\x80\x04pickle", b"{}", b"\xff" * 200], ids=str)
def test_a_file_of_another_program_is_refused(tmp_path, data):
    file = tmp_path / "masks.safetensors"
    file.write_bytes(data)
    with pytest.raises(UserError, match="damaged or not ours"):
        load_masks(file)


@pytest.mark.parametrize("metadata", [None, {"format": "other"}])
def test_weights_are_not_taken_for_masks(tmp_path, metadata):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(save({"w": torch.ones(8)}, metadata))
    with pytest.raises(UserError, match="does not hold masks"):
        load_masks(file)


@pytest.mark.parametrize(
    "shapes",
    ["not json", "[]", json.dumps({"w": [8]}), json.dumps({"absent": [64]}), json.dumps({"w": 64})],
)
def test_shapes_that_do_not_belong_to_the_bits_are_refused(tmp_path, shapes):
    file = tmp_path / "masks.safetensors"
    metadata = {"format": "lightning_sparse.masks/1", "shapes": shapes, "hash": "0"}
    file.write_bytes(save({"w": torch.zeros(8, dtype=torch.uint8)}, metadata))
    with pytest.raises(UserError, match="do not match their hash"):
        load_masks(file)
