import argparse
import re

import numpy as np
import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.exchange.published import read_published
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.models.resnet import BottleneckResNet
from tests.exchange.layouts import WRITERS, small_resnet


@pytest.fixture(scope="module")
def truth():
    network = small_resnet()
    generator = torch.Generator().manual_seed(1)
    state = {
        name: torch.rand(value.shape, generator=generator) + 0.1
        if value.is_floating_point()
        else value.clone()
        for name, value in network.state_dict().items()
    }
    masks = {
        name: torch.rand(weight.shape, generator=generator) < 0.3
        for name, weight in prunable_weights(network).items()
    }
    masks["conv1.weight"][:] = True  # left dense, as RigL's uniform distribution does
    for name, mask in masks.items():
        state[name] *= mask
    state["fc.bias"].zero_()  # STR's networks have none
    return network, state, masks


@pytest.mark.parametrize("layout", WRITERS)
def test_a_file_in_a_published_layout_gives_the_weights_and_masks_that_went_in(
    layout, truth, tmp_path
):
    network, state, masks = truth
    file = WRITERS[layout](tmp_path, state, masks)
    found = read_published(file, layout, network)
    assert list(found.state) == list(state)
    for name in state:
        torch.testing.assert_close(found.state[name], state[name], msg=name)
    assert found.masks.keys() == masks.keys()
    for name, mask in masks.items():
        assert torch.equal(found.masks[name], mask), name
        assert not found.state[name][~mask].any()
    network.load_state_dict(dict(found.state))


def test_the_names_of_tensorflow_are_those_of_the_published_code(truth, tmp_path):
    _, state, masks = truth
    with np.load(WRITERS["rigl"](tmp_path, state, masks)) as stored:
        names = set(stored.files)
    # block_group2 has two blocks; batch norms are numbered as they are made, shortcuts first.
    assert {
        "resnet_model/initial_conv/weights",
        "resnet_model/bottleneck_projection_block_group_projection_block_group1/mask",
        "resnet_model/bottleneck_2_block_group2_1_1/weights",
        "resnet_model/bottleneck_3_block_group_projection_block_group4/weights",
        "resnet_model/batch_normalization/gamma",
        "resnet_model/batch_normalization_1/moving_variance",
        "resnet_model/batch_normalization_19/beta",
        "resnet_model/final_dense/biases",
    } <= names
    assert "resnet_model/batch_normalization_20/beta" not in names


def test_shapes_of_a_convolution_and_of_the_last_layer_are_turned(truth, tmp_path):
    _, state, masks = truth
    with np.load(WRITERS["rigl"](tmp_path, state, masks)) as stored:
        first = stored["resnet_model/bottleneck_2_block_group2_1_1/weights"]
        dense = stored["resnet_model/final_dense/weights"]
    weight = state["layer2.1.conv2.weight"]
    assert first[0, 2, 1, 3] == weight[3, 1, 0, 2]
    assert dense.shape == tuple(reversed(state["fc.weight"].shape))


def test_a_file_of_another_network_is_refused(truth, tmp_path):
    _, state, masks = truth
    for layout, write in WRITERS.items():
        file = write(tmp_path, state, masks)
        deeper = BottleneckResNet(10, 1, width_multiplier=1 / 16, layers=(1, 3, 1, 1))
        with pytest.raises(UserError, match=r"(the file lacks|choose the model=)"):
            read_published(file, layout, deeper)
        wider = BottleneckResNet(10, 1, width_multiplier=1 / 8, layers=(1, 2, 1, 1))
        with pytest.raises(UserError, match=r"'conv1.weight' has shape \(4, 1, 3, 3\), the model"):
            read_published(file, layout, wider)
        shallower = BottleneckResNet(10, 1, width_multiplier=1 / 16, layers=(1, 1, 1, 1))
        with pytest.raises(UserError, match=r"the model (lacks|has no layer)"):
            read_published(file, layout, shallower)


def test_a_file_without_masks_is_refused_but_gives_the_start_of_a_training(truth, tmp_path):
    network, state, _ = truth
    file = WRITERS["state_of_sparsity"](tmp_path, state, {})
    with pytest.raises(UserError, match="has no variable called mask; of State of Sparsity only"):
        read_published(file, "state_of_sparsity", network)
    start = read_published(file, "state_of_sparsity", network, masked=False)
    torch.testing.assert_close(dict(start.state), state)


def test_files_that_are_none_are_one_line(truth, tmp_path):
    network, _, _ = truth
    (tmp_path / "text").write_text("no file of anyone")
    torch.save({"state_dict": {"epoch": 3}}, tmp_path / "empty.pth")
    for name, layout, message in [
        ("none", "str", "there is no such file"),
        ("text", "str", "published.file="),
        ("text", "rigl", "no .npz of TensorFlow's variables"),
        ("empty.pth", "str", "holds no state dict, neither under 'state_dict'"),
        ("text", "snip", "published.layout=snip: choose one of state_of_sparsity, rigl, acdc, str"),
    ]:
        with pytest.raises(UserError, match=re.escape(message)) as caught:
            read_published(tmp_path / name, layout, network)
        assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


def test_nothing_in_a_file_of_torch_is_run(truth, tmp_path, capsys):
    network, state, masks = truth
    file = WRITERS["str"](tmp_path, state, masks)
    loaded = torch.load(file, weights_only=False)
    loaded |= {"evil": Evil(), "args": argparse.Namespace(seed=3), "optimizer": torch.optim.SGD}
    torch.save(loaded, file)
    found = read_published(file, "str", network)
    torch.testing.assert_close(found.state["fc.weight"], state["fc.weight"])
    assert capsys.readouterr().out == ""
