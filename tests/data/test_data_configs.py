"""Every file of conf/data and conf/model builds what it names."""

from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from lightning_sparse.data.digits import build_digits
from lightning_sparse.data.source import ImageSource
from lightning_sparse.errors import UserError
from lightning_sparse.models.build import build_model

CONF = Path(__file__).parents[2] / "conf"
MODELS = sorted((CONF / "model").glob("*.yaml"))


def test_every_data_file_is_tested_here():
    names = {file.stem for file in (CONF / "data").glob("*.yaml")}

    assert names == {
        "cifar10", "cifar100", "digits", "digits28", "idx_folder", "image_folder", "imagenet_ffcv",
        "synthetic",
    }  # fmt: skip
    assert len(MODELS) == 4


@pytest.mark.parametrize("name", ["digits", "digits28", "synthetic"])
def test_a_data_file_builds_a_source(name):
    source = instantiate(OmegaConf.load(CONF / "data" / f"{name}.yaml"))

    assert isinstance(source, ImageSource)
    assert source.image_shape == tuple(source.train.images.shape[1:])


@pytest.mark.parametrize(
    "name", ["cifar10", "cifar100", "idx_folder", "image_folder", "imagenet_ffcv"]
)
def test_data_on_disk_is_looked_for_under_the_data_folder(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    config = OmegaConf.load(CONF / "data" / f"{name}.yaml")

    with pytest.raises(InstantiationException) as caught:
        instantiate(config)

    assert isinstance(caught.value.__cause__, UserError)
    assert str(tmp_path) in str(caught.value.__cause__)


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_a_model_file_builds_a_network_that_fits_the_digits(file):
    source = build_digits(28)

    network = build_model(instantiate(OmegaConf.load(file)), source, 1, "init")

    assert isinstance(network, nn.Module)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
