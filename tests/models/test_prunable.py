import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torchvision.models import resnet50

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights, weights_left_dense


def test_weights_of_convolutions_and_linear_layers_come_in_module_order():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ModuleDict({"odd_name_bn": nn.Linear(2, 2)}),
        nn.ConvTranspose1d(2, 2, 3),
        nn.LayerNorm(2),
        nn.Embedding(3, 2),
        nn.Conv3d(2, 2, 1, bias=False),
    )
    weights = prunable_weights(model)
    assert list(weights) == ["0.weight", "2.odd_name_bn.weight", "3.weight", "6.weight"]
    assert weights["3.weight"] is model[3].weight


def test_every_layer_of_resnet50_is_found_and_nothing_else():
    with torch.device("meta"):
        model = resnet50()
    weights = prunable_weights(model)
    assert len(weights) == 54
    assert sum(weight.numel() for weight in weights.values()) == 25_502_912
    assert next(iter(weights)) == "conv1.weight"
    assert list(weights)[-1] == "fc.weight"
    assert {weight.dim() for weight in weights.values()} == {2, 4}


def test_a_shared_weight_comes_once_under_its_parameter_name():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5), nn.Linear(3, 5))
    model[1].weight = model[2].weight = model[0].weight
    assert list(prunable_weights(model)) == ["0.weight"]


def test_names_are_those_of_the_state_dict_and_of_named_parameters():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Linear(2, 2)))
    assert set(prunable_weights(model)) <= set(dict(model.named_parameters()))
    assert set(prunable_weights(model)) <= set(model.state_dict())


def test_a_model_that_is_one_layer_has_a_name():
    assert list(prunable_weights(nn.Linear(2, 2))) == ["weight"]


def test_attention_is_pruned_in_all_four_projections():
    together, apart = nn.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 2, kdim=3)
    assert list(prunable_weights(together)) == ["in_proj_weight", "out_proj.weight"]
    assert list(prunable_weights(apart)) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight",
    ]  # fmt: skip


def test_recurrent_weights_and_embeddings_are_left_dense():
    model = nn.Sequential(
        nn.Linear(4, 4), nn.GRU(4, 5), nn.Embedding(6, 4), nn.LayerNorm((2, 4)), nn.BatchNorm1d(4)
    )
    assert list(weights_left_dense(model)) == ["1.weight_ih_l0", "1.weight_hh_l0", "2.weight"]


def test_frozen_layers_count_too():
    model = nn.Linear(2, 2).requires_grad_(requires_grad=False)
    assert list(prunable_weights(model)) == ["weight"]


def test_a_model_without_such_layers_is_refused_by_name():
    with pytest.raises(UserError, match="model BatchNorm2d has no convolution"):
        prunable_weights(nn.BatchNorm2d(2))


def test_a_parametrised_weight_is_refused_by_layer():
    model = nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2)))
    with pytest.raises(UserError, match="layer '1': its weight is parametrised"):
        prunable_weights(model)
