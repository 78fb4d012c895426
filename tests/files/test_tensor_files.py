import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors, save_tensors

TENSORS = {
    "weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    "count": torch.tensor(7),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 2),
}


def test_tensors_come_back_as_they_were(tmp_path):
    save_tensors(TENSORS, tmp_path / "file")

    loaded = load_tensors(tmp_path / "file")

    assert list(loaded) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 1e-45])
def test_odd_numbers_come_back_bit_for_bit(tmp_path, value):
    save_tensors({"a": torch.tensor([value])}, tmp_path / "file")

    loaded = load_tensors(tmp_path / "file")["a"]

    assert loaded.view(torch.int32).item() == torch.tensor([value]).view(torch.int32).item()


def test_loaded_tensors_may_be_written_to(tmp_path):
    save_tensors(TENSORS, tmp_path / "file")
    loaded = load_tensors(tmp_path / "file")

    loaded["weight"].zero_()

    assert load_tensors(tmp_path / "file")["weight"].any()


def test_memory_formats_and_views_are_stored_as_plain_tensors(tmp_path):
    channels_last = TENSORS["weight"].to(memory_format=torch.channels_last)
    parameter = nn.Parameter(TENSORS["weight"][1:3, ::2])

    save_tensors({"a": channels_last, "b": parameter}, tmp_path / "file")

    loaded = load_tensors(tmp_path / "file")
    assert torch.equal(loaded["a"], TENSORS["weight"])
    assert loaded["a"].is_contiguous()
    assert torch.equal(loaded["b"], TENSORS["weight"][1:3, ::2])
    assert not loaded["b"].requires_grad


def test_a_weight_under_two_names_is_stored_under_both(tmp_path):
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    network = nn.Sequential(first, second)

    save_tensors(network.state_dict(), tmp_path / "file")

    network.load_state_dict(load_tensors(tmp_path / "file"))
    assert set(load_tensors(tmp_path / "file")) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_text_travels_with_the_tensors(tmp_path):
    save_tensors(TENSORS, tmp_path / "file", metadata={"format": "ours"})

    with safe_open(tmp_path / "file", framework="pt") as stored:
        assert stored.metadata() == {"format": "ours"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no file .*weights; give a run folder that has finished"):
        load_tensors(tmp_path / "weights")


@given(st.data())
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, data):
    whole = safetensors.torch.save(TENSORS)
    length = data.draw(st.integers(0, len(whole) - 1))
    file = tmp_path_factory.getbasetemp() / "cut"
    file.write_bytes(whole[:length])

    with pytest.raises(UserError, match=r"cut is damaged or not ours .*; remove its run folder"):
        load_tensors(file)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"not a tensor in sight\n" * 9, id="text"),
        pytest.param(pickle.dumps({"weight": [1.0]}), id="pickle"),
        pytest.param(b"\xff" * 64, id="nonsense"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(UserError, match="damaged or not ours"):
        load_tensors(tmp_path / "file")


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    (tmp_path / "file").write_bytes(pickle.dumps(Trap()))

    with pytest.raises(UserError, match="damaged or not ours"):
        load_tensors(tmp_path / "file")
