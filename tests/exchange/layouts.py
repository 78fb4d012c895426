"""Files in the layouts of published code, written from it and not from our reader."""

from collections import OrderedDict

import numpy as np
import torch

from lightning_sparse.models.resnet import BottleneckResNet

BLOCKS = (1, 2, 1, 1)


def small_resnet():
    return BottleneckResNet(10, 1, width_multiplier=1 / 16, layers=BLOCKS)


def write_tensorflow(folder, state, masks):
    """As resnet_v1_generator makes its variables, one after the other, with their slots."""
    variables = {"global_step": np.int64(32000)}
    _write_stem_and_blocks(variables, state, masks)
    _write_layer(variables, state, masks, "final_dense", "fc")
    variables["resnet_model/final_dense/biases"] = state["fc.bias"].numpy()
    np.savez(folder / "variables.npz", **variables)
    return folder / "variables.npz"


def _write_layer(variables, state, masks, scope, name):
    weight = state[f"{name}.weight"].numpy()
    order = (2, 3, 1, 0) if weight.ndim == 4 else (1, 0)
    variables[f"resnet_model/{scope}/weights"] = weight.transpose(order)
    variables[f"resnet_model/{scope}/weights/Momentum"] = weight.transpose(order)
    if f"{name}.weight" in masks:
        mask = masks[f"{name}.weight"].numpy().astype(np.float32)
        variables[f"resnet_model/{scope}/mask"] = mask.transpose(order)
        variables[f"resnet_model/{scope}/threshold"] = np.float32(0.1)
        # What lies under a mask is not zero there.
        variables[f"resnet_model/{scope}/weights"] = np.where(
            mask.transpose(order) > 0, weight.transpose(order), 0.7
        ).astype(np.float32)


def _write_norm(variables, state, number, name):
    scope = "resnet_model/batch_normalization" + (f"_{number}" if number else "")
    for theirs, ours in (
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ):
        variables[f"{scope}/{theirs}"] = state[f"{name}.{ours}"].numpy()


def _write_stem_and_blocks(variables, state, masks):
    numbers = iter(range(99))

    def conv(scope, name):
        _write_layer(variables, state, masks, scope, name)

    def norm(name):
        _write_norm(variables, state, next(numbers), name)

    conv("initial_conv", "conv1")
    norm("bn1")
    for group, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            ours = f"layer{group}.{block}"
            place = f"block_group{group}_{block}_1"
            if block == 0:
                place = f"block_group_projection_block_group{group}"
                conv(f"bottleneck_projection_{place}", f"{ours}.downsample.0")
                norm(f"{ours}.downsample.1")
            for index in (1, 2, 3):
                conv(f"bottleneck_{index}_{place}", f"{ours}.conv{index}")
                norm(f"{ours}.bn{index}")


def write_uniform_rigl(folder, state, masks):
    """The first layer is not pruned and has no mask."""
    kept = {name: mask for name, mask in masks.items() if name != "conv1.weight"}
    return write_tensorflow(folder, state, kept)


def write_acdc(folder, state, masks):
    """A checkpoint of wrapped layers under DataParallel, with the classes that it names."""
    wrapped = OrderedDict()
    for name, value in state.items():
        module, _, part = name.rpartition(".")
        if f"{module}.weight" not in masks:
            wrapped[f"module.{name}"] = value
            continue
        wrapped[f"module.{module}._layer.{part}"] = value
        if part == "weight":
            # What the last dense phase grew under the mask.
            grown = value + 0.3 * ~masks[name]
            wrapped[f"module.{module}._layer.weight"] = grown
            wrapped[f"module.{module}._weight_mask"] = masks[name].float()
        if part == "bias":
            wrapped[f"module.{module}._bias_mask"] = torch.ones_like(value)
    content = {
        "epoch": 99,
        "model_config": {"arch": "resnet50", "dataset": "imagenet"},
        "model_state_dict": wrapped,
        "optimizer": {"type": torch.optim.SGD, "state_dict": {"param_groups": []}},
        "lr_scheduler": {"type": torch.optim.lr_scheduler.StepLR, "state_dict": {}},
    }
    torch.save(content, folder / "best_sparse_checkpoint.ckpt")
    return folder / "best_sparse_checkpoint.ckpt"


def write_str(folder, state, masks):
    """Weights before the soft threshold, thresholds of shape [1, 1], a convolution at the end."""
    stored, threshold = OrderedDict(), torch.full((1, 1), -2.0)
    for name, value in state.items():
        if name == "fc.bias":
            continue
        stored[f"module.{name}"] = value
        if name in masks:
            above = value.sign() * (value.abs() + threshold.sigmoid()[0, 0])
            raw = torch.where(masks[name], above, 0.9 * threshold.sigmoid()[0, 0])
            stored[f"module.{name}"] = raw[..., None, None] if name == "fc.weight" else raw
            stored[f"module.{name.removesuffix('weight')}sparseThreshold"] = threshold
    content = {"epoch": 100, "arch": "ResNet50", "state_dict": stored, "best_acc1": 70.0}
    torch.save(content, folder / "model_best.pth")
    return folder / "model_best.pth"


WRITERS = {
    "state_of_sparsity": write_tensorflow,
    "rigl": write_uniform_rigl,
    "acdc": write_acdc,
    "str": write_str,
}
