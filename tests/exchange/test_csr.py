import json
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.exchange.csr import (
    CsrLayer,
    check_csr,
    csr_bytes,
    csr_from_bytes,
    csr_layer,
    read_csr,
)
from lightning_sparse.files.tensor_files import save_tensors, tensors_from_bytes
from lightning_sparse.sparsity.masks import apply_masks_

shapes = st.one_of(
    st.tuples(st.integers(1, 6), st.integers(1, 7)),
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
)


def small_network(sparsity=0.7):
    generator = torch.Generator().manual_seed(3)
    state = {
        "conv.weight": torch.randn(4, 2, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
        "fc.weight": torch.randn(3, 4, generator=generator),
    }
    masks = {
        "conv.weight": torch.rand(4, 2, 3, 3, generator=generator) > sparsity,
        "fc.weight": torch.ones(3, 4, dtype=torch.bool),
    }
    apply_masks_(state, masks)
    return state, masks


@given(shapes, st.integers(0, 2**16), st.floats(0, 1))
def test_a_weight_comes_back_as_it_was_with_its_mask_whatever_is_kept(shape, seed, density):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=generator) < density
    weight = torch.randn(shape, generator=generator).masked_fill(~mask, 0)
    layer = csr_layer(weight, mask)
    assert torch.equal(layer.dense(), weight)
    assert torch.equal(layer.mask(), mask)
    assert torch.equal(layer.matrix().to_dense(), weight.flatten(1))
    assert len(layer.values) == int(mask.sum())


def test_a_kept_weight_of_exactly_zero_stays_kept():
    mask = torch.tensor([[True, False], [True, True]])
    layer = csr_layer(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), mask)
    assert layer.values.tolist() == [0, 2, 0]
    assert torch.equal(layer.mask(), mask)


def test_a_file_holds_masked_layers_as_csr_and_the_rest_as_it_is(tmp_path):
    state, masks = small_network()
    data = csr_bytes(state, masks, run_id="mine")
    (tmp_path / "a.safetensors").write_bytes(data)
    network = read_csr(tmp_path / "a.safetensors")
    assert network.run_id == "mine"
    assert set(network.layers) == {"conv.weight"}
    assert set(network.dense) == {"conv.bias", "fc.weight", "norm.num_batches_tracked"}
    back = network.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert back["norm.num_batches_tracked"].dtype == torch.int64
    assert check_csr(network, state, masks) < 1e-6
    assert csr_bytes(state, masks, run_id="mine") == data


def test_others_can_read_the_layers_by_their_names():
    state, masks = small_network()
    tensors, metadata = tensors_from_bytes(csr_bytes(state, masks, run_id="mine"), where="it")
    assert json.loads(metadata["layers"]) == ["conv.weight"]
    assert tensors["conv.weight.shape"].tolist() == [4, 2, 3, 3]
    matrix = csr_layer(state["conv.weight"], masks["conv.weight"]).matrix()
    for part, expected in (
        ("values", matrix.values()),
        ("col_indices", matrix.col_indices()),
        ("crow_indices", matrix.crow_indices()),
    ):
        assert torch.equal(tensors[f"conv.weight.{part}"], expected)


def test_a_convolution_can_be_computed_from_the_sparse_matrix():
    state, masks = small_network()
    layer = csr_layer(state["conv.weight"], masks["conv.weight"])
    images = torch.randn(1, 2, 5, 5)
    columns = torch.nn.functional.unfold(images, 3)[0]
    found = (layer.matrix() @ columns).reshape(1, 4, 3, 3)
    expected = torch.nn.functional.conv2d(images, state["conv.weight"])
    torch.testing.assert_close(found, expected)


def test_a_weight_outside_its_mask_is_refused():
    state, masks = small_network()
    masks["conv.weight"][0, 0, 0, 0] = False
    state["conv.weight"][0, 0, 0, 0] = 1.0
    with pytest.raises(UserError, match=r"mine: 1 masked weights of 'conv.weight' are not zero"):
        csr_bytes(state, masks, run_id="mine")


def test_a_mask_of_another_network_is_refused():
    state, masks = small_network()
    with pytest.raises(UserError, match=r"its mask of 'other.weight' fits no weight"):
        csr_bytes(state, {"other.weight": masks["conv.weight"]}, run_id="mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layer: layer.values.add_(1e-6), "'conv.weight' is not read back as it was written"),
        (lambda layer: layer.col_indices.copy_(layer.col_indices.flip(0)), "is not read back"),
    ],
)
def test_what_is_not_read_back_as_it_was_is_found(change, message):
    state, masks = small_network()
    network = csr_from_bytes(csr_bytes(state, masks, run_id="mine"), where="it")
    change(network.layers["conv.weight"])
    with pytest.raises(UserError, match=re.escape(message)):
        check_csr(network, state, masks)


def test_a_product_that_differs_is_found(monkeypatch):
    state, masks = small_network()
    network = csr_from_bytes(csr_bytes(state, masks, run_id="mine"), where="it")
    wrong = csr_layer(state["conv.weight"] * 1.001, masks["conv.weight"]).matrix()
    monkeypatch.setattr(CsrLayer, "matrix", lambda _: wrong)
    with pytest.raises(UserError, match=r"the product with 'conv\.weight' differs by"):
        check_csr(network, state, masks)


def test_a_file_that_is_missing_of_another_kind_or_damaged_is_refused(tmp_path):
    state, masks = small_network()
    with pytest.raises(UserError, match="no file"):
        read_csr(tmp_path / "none.safetensors")
    save_tensors(state, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match=r"plain.safetensors is no CSR file of ours"):
        read_csr(tmp_path / "plain.safetensors")
    data = csr_bytes(state, masks, run_id="mine")
    for number, wrong in enumerate(
        [data[:-9], data.replace(b"crow_indices", b"brow_indices"), b"", data[:50]]
    ):
        (tmp_path / f"{number}").write_bytes(wrong)
        with pytest.raises(UserError, match=f"{number} is damaged"):
            read_csr(tmp_path / f"{number}")
