"""Networks that cannot be built or trained: one line, before anything is trained or written."""

import re

import pytest

from lightning_sparse.cli.main import main

FOREIGN = """
import builtins

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, in_channels, num_classes, fails_in="", error="KeyError", seed=None):
        super().__init__()
        if seed is not None:
            torch.manual_seed(seed)
        self.hidden, self.head = nn.Linear(in_channels * 64, 9), nn.Linear(9, num_classes)
        self.fails_in, self.error = fails_in, getattr(builtins, error)
        if fails_in == "constructor":
            raise self.error("no weights here")

    def forward(self, images):
        if self.fails_in == "forward" or (self.fails_in == "training" and self.training):
            raise self.error("no weights here")
        return self.head(self.hidden(images.flatten(1)).relu())


class Extra(Net):
    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass


class TwoDtypes(Net):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, num_classes)
        self.hidden = self.hidden.double()

    def forward(self, images):
        return self.head(self.hidden(images.flatten(1).double()).float())
"""
VISION = "torchvision.models"
COLOURED = [
    "data=synthetic",
    "+data.num_train=64",
    "+data.num_test=16",
    "evaluation.train_subset_size=64",
    "evaluation.num_recalibration_images=64",
]
PRUNE = ("train", "method=prune")
CASES = {
    "GoogLeNet, whose training output is several": (
        [*PRUNE, f"model._target_={VISION}.googlenet", "+model.init_weights=false"],
        "model GoogLeNet in training mode returns a GoogLeNetOutputs of 3; expected one tensor",
    ),
    "a transformer for images of another size": (
        [*PRUNE, f"model._target_={VISION}.vit_b_32", "+model.image_size=64"],
        "model VisionTransformer does not accept images of shape (3, 32, 32): AssertionError: "
        "Wrong image height",
    ),
    "a misspelled argument": (
        [*PRUNE, f"model._target_={VISION}.resnet18", "+model.widht=3"],
        f"model._target_={VISION}.resnet18: TypeError: .*'widht'",
    ),
    "an argument that lacks": (
        [*PRUNE, f"model._target_={VISION}.ResNet"],
        f"model._target_={VISION}.ResNet: TypeError: .*missing 2 required .*'block' and 'layers'",
    ),
    **{
        f"{error} in {place}": (
            [*PRUNE, f"+model.fails_in={place}", f"+model.error={error}"],
            f"{message}: {error}: .*no weights here",
        )
        for place, error, message in [
            ("constructor", "OSError", "model._target_=foreign.Net"),
            ("forward", "AttributeError", r"model Net does not accept images of shape \(1, 8, 8\)"),
            ("training", "IndexError", "model Net in training mode"),
        ]
    },
    "a state that is no tensor": (
        [*PRUNE, "model._target_=foreign.Extra"],
        "'_extra_state' in its state dict is a dict, and only tensors are saved",
    ),
    "two dtypes on a path": (
        ["path", "model._target_=foreign.TwoDtypes"],
        "'hidden.weight' is torch.float64, 'head.weight' is torch.float32",
    ),
    "a constructor that seeds itself, for scratch": (
        ["train", "method=scratch", "+model.seed=3"],
        "its start weights are the same from method.start=init/scratch as from init",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_that_cannot_be_trained_is_refused_in_one_line_before_any_run(
    case, tmp_path, monkeypatch, capfd
):
    (tmp_path / "foreign.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    words, message = CASES[case]
    data = COLOURED if VISION in "".join(words) else []
    settings = [
        "experiment=smoke",
        "model._target_=foreign.Net",
        *data,
        f"runs_dir={tmp_path}/runs",
    ]

    assert main([words[0], *settings, *words[1:]]) == 2

    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("error: ")]
    pattern = message if "*" in message or "\\" in message else None
    assert re.search(pattern, line) if pattern else message in line
    assert not list(tmp_path.glob("runs/*/*"))
