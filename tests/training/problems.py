"""Tiny images, a tiny network and quick runs: what tests of training and of paths share."""

import json

import torch
from torch import nn

from lightning_sparse.data.augmentation import RandomShift
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.source import ImageSource, TensorImages
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.run import EndPointRun, RunIdentity

NUM_CLASSES = 3
IMAGE_SHAPE = (1, 6, 6)


def make_images(num_images, seed):
    """Three patterns in noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_images) % NUM_CLASSES
    patterns = torch.randn(NUM_CLASSES, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(num_images, *IMAGE_SHAPE, generator=generator)
    return TensorImages(patterns[labels] + noise, labels)


# An epoch is six batches of eight.
SOURCE = ImageSource(
    name="patterns",
    train=make_images(48, seed=1),
    test=make_images(21, seed=2),
    num_classes=NUM_CLASSES,
    image_shape=IMAGE_SHAPE,
    augmentation=RandomShift(1),
)


class TinyNet(nn.Module):
    """Two convolutions with batch norm and a linear layer; no width is a multiple of another."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(5)
        self.fc = nn.Linear(5, NUM_CLASSES)

    def forward(self, images):
        hidden = self.bn1(self.conv1(images)).relu()
        hidden = self.bn2(self.conv2(hidden)).relu()
        return self.fc(hidden.mean(dim=(2, 3)))


class TwoLayers(nn.Module):
    """A network without batch norm."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(36, 7)
        self.second = nn.Linear(7, NUM_CLASSES)

    def forward(self, images):
        return self.second(self.first(images.flatten(1)).relu())


def make_network(seed=0, network_type=TinyNet, memory_format=torch.contiguous_format):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network_type().to(memory_format=memory_format)


def make_masks(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator) > 0.6
        for name, weight in prunable_weights(make_network()).items()
    }


def make_data(**changes):
    return ImageDataModule(
        SOURCE, **{"batch_size": 8, "seed": 1, "evaluation_batch_size": 16, **changes}
    )


def make_settings(**changes):
    return TrainingSettings(**{"num_steps": 12, "learning_rate": 0.1, **changes})


def make_pruning(**changes):
    return GradualMagnitude(
        **{
            "sparsity": 0.5,
            "start_step": 2,
            "end_step": 7,
            "update_every": 2,
            "distribution": Uniform(),
            **changes,
        }
    )


def make_identity(**changes):
    return RunIdentity(
        **{
            "run_id": "tiny",
            "experiment": "tests",
            "method": "dense",
            "start": "init",
            "seed": 1,
            "target_sparsity": 0.0,
            **changes,
        }
    )


def train(run_dir, *, method=None, network=None, data=None, settings=None, **options):
    """Train one end point; what is not given is the dense default."""
    identity = options.pop("identity", None) or make_identity()
    return EndPointRun(
        network=network or make_network(),
        method=method or Dense(),
        data=data or make_data(),
        settings=settings or make_settings(),
        identity=identity,
        run_dir=run_dir,
        trainer_options={"accelerator": "cpu", "devices": 1, **options.pop("trainer_options", {})},
        **options,
    ).train()


def history(run_dir):
    """A run's history without what the machine did for it: how fast, and in how much memory."""
    lines = (run_dir / "history.jsonl").read_text().splitlines()
    machine = {"images_per_second", "peak_memory_gib"}
    return [
        {name: value for name, value in json.loads(line).items() if name not in machine}
        for line in lines
    ]


def bits(tensor):
    """Contents as bytes: unlike equality they tell zeros of either sign, and NaNs, apart."""
    return (
        tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
        if tensor.dim()
        else (str(tensor.item()))
    )


def same_bits(first, second):
    return first.keys() == second.keys() and all(
        bits(first[name]) == bits(second[name]) for name in first
    )
