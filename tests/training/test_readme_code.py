"""The lines under "In your own code" in README.md, run as they stand there."""

import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import VisionTransformer

from lightning_sparse.sparsity.masks import kept_and_prunable

README = Path(__file__).parents[2] / "README.md"


class Regression(pl.LightningModule):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def training_step(self, batch):
        loss = functional.mse_loss(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01)


def network_of(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2))


def blocks_of_code():
    section = README.read_text("utf-8").split("## In your own code")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


class Classification(Regression):
    def training_step(self, batch):
        return functional.cross_entropy(self.network(batch[0]), batch[1])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec:FutureWarning")
def test_the_same_lines_train_a_vision_transformer_of_torchvision(tmp_path, monkeypatch):
    pruned, _ = blocks_of_code()
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    network = VisionTransformer(
        image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16,
        num_classes=3,
    )  # fmt: skip
    labels = torch.arange(32) % 3
    images = torch.randn(32, 3, 8, 8) + labels[:, None, None, None]
    names = {
        "your_module": Classification(network),
        "your_loader": DataLoader(TensorDataset(images, labels), batch_size=16),
    }

    exec(pruned, names)  # noqa: S102

    sparsity, state = names["sparsity"], network.state_dict()
    masks = {name.removeprefix("network."): mask for name, mask in sparsity.masks.items()}
    assert [name.rpartition("encoder_layer_0.")[2] for name in masks] == [
        "conv_proj.weight", "self_attention.in_proj_weight", "self_attention.out_proj.weight",
        "mlp.0.weight", "mlp.3.weight", "heads.head.weight",
    ]  # fmt: skip
    kept, prunable = kept_and_prunable(masks)
    assert 0 <= kept - 0.1 * prunable < len(masks)
    assert all(not state[name][~mask].any() for name, mask in masks.items())
    assert 0.1 < sparsity.observations()["share_ever_kept"] < 1
    assert len(sparsity.kept_by_step) == 1


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec:FutureWarning")
def test_what_the_readme_shows_runs_as_it_stands_there(tmp_path, monkeypatch, capsys):
    pruned, joined = blocks_of_code()
    monkeypatch.chdir(tmp_path)
    inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    module = Regression(network_of(1))
    states = [network_of(seed).state_dict() for seed in (3, 4)]
    names = {
        "your_module": module,
        "your_loader": DataLoader(TensorDataset(inputs, inputs[:, :2].sin()), batch_size=16),
        "your_network": network_of(2),
        "first_state": states[0],
        "second_state": states[1],
        "your_loss": functional.mse_loss,
    }

    exec(pruned, names)  # noqa: S102 (our own text)

    masks, state = names["sparsity"].masks, module.state_dict()
    assert list(masks) == ["network.0.weight", "network.2.weight"]
    # Of 160 weights a tenth; zeros are rounded down in each layer.
    assert 16 <= sum(int(mask.sum()) for mask in masks.values()) <= 18
    assert all(torch.equal(state[name] != 0, mask) for name, mask in masks.items())
    assert "True" in capsys.readouterr().out

    exec(joined, names)  # noqa: S102

    straight = network_of(2)
    straight.load_state_dict({name: (states[0][name] + states[1][name]) / 2 for name in states[0]})
    on_curve, on_line = (
        functional.mse_loss(network(inputs), inputs[:, :2].sin()).item()
        for network in (names["your_network"], straight)
    )
    assert on_curve < on_line / 2
    for t, expected in zip((0.0, 1.0), states, strict=True):
        end = names["curve"].state_at(t)
        assert all(torch.equal(end[name], value) for name, value in expected.items())
