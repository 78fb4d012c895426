"""Points of a path evaluated in two ways, and images to evaluate them on."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.optim.swa_utils import update_bn

from benchmarks.workloads import Scale, noise_data, resnet50
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.source import ImageSource
from lightning_sparse.models.build import build_model
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.paths.curves import Line
from lightning_sparse.paths.evaluation import PathEvaluator
from lightning_sparse.paths.geometry import point_on_curve
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.training.measurement import CPU, measure


class Work:
    """The same points on the same images in both ways."""

    def __init__(  # noqa: PLR0913 (keyword-only: what is evaluated, and where)
        self,
        source: ImageSource,
        num_images: int,
        *,
        num_points: int,
        constructor: Callable[..., nn.Module] = ConvNet,
        points_at_once: int = 29,
        num_workers: int = 0,
        device: torch.device = CPU,
    ) -> None:
        half = num_images // 2
        self.data = ImageDataModule(
            source,
            batch_size=half,
            seed=1,
            evaluation_batch_size=half,
            train_subset_size=num_images,
            num_workers=num_workers,
        )
        self.device = device
        self.network = build_model(constructor, source, 1, "init")
        self.settings = EvaluationSettings(
            # 0 and 1 are on every grid of 29 or 8 such points.
            num_points=num_points,
            num_recalibration_images=num_images,
            recalibration_batch_size=half,
            points_at_once=points_at_once,
        )
        self.ts = self.settings.grid()
        self.layout = WeightLayout(self.network)
        start = self.layout.flatten(self.network.state_dict())
        other = build_model(constructor, source, 2, "init")
        points = torch.stack([start, self.layout.flatten(other.state_dict())])
        self.weights_at: Callable[[float], torch.Tensor] = functools.partial(
            point_on_curve, Line(), points
        )
        buffers = dict(self.network.named_buffers())
        self.evaluator = PathEvaluator(
            network=self.network,
            data=self.data,
            settings=self.settings,
            weight_decay=0.0,
            buffers=(buffers, buffers),
            device=device,
        )

    def bare_passes(self) -> Callable[[], object]:
        """Return as many forward passes as `together` makes, over images that are there already."""
        network = copy.deepcopy(self.network).to(self.device).eval()
        network = network.to(memory_format=torch.channels_last)
        half = self.settings.recalibration_batch_size
        sets = (
            self.data.recalibration_batches(2 * half, half),
            self.data.train_subset_batches(),
            self.data.test_batches(),
        )
        batches = [
            images.to(self.device, memory_format=torch.channels_last, copy=True)
            for batches in sets
            for images, _ in batches
        ]

        @torch.no_grad()
        def passes() -> None:
            for _ in self.ts:
                for images in batches:
                    network(images)

        return passes

    def together(self) -> list[float]:
        """Return the training loss of every point."""
        points = self.evaluator(self.ts, self.weights_at)
        return [point.train.loss for point in points]

    def one_by_one(self) -> list[float]:
        """Return the same."""
        return [self._loss_at(t) for t in self.ts]

    @torch.no_grad()
    def _loss_at(self, t: float) -> float:
        weights = self.layout.unflatten(self.weights_at(t))
        self.network.load_state_dict(weights, strict=False)
        half = self.settings.recalibration_batch_size
        update_bn(self.data.recalibration_batches(2 * half, half), self.network)
        self.network.eval()
        losses = [
            measure(self.network, batches, penalty=0.0).loss
            for batches in (self.data.train_subset_batches(), self.data.test_batches())
        ]
        return losses[0]


def write_jpegs(folder: Path, num_images: int, *, pixels: int) -> None:
    """Write smooth noise as square JPEG files of two classes, for training and for validation."""
    generator = torch.Generator().manual_seed(1)
    for part in ("train", "val"):
        for index in range(num_images):
            coarse = torch.rand(1, 3, 16, 16, generator=generator)
            image = torch.nn.functional.interpolate(coarse, size=(pixels, pixels), mode="bilinear")
            file = folder / part / str(index % 2) / f"{index}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixel_values = (image[0] * 255).to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(pixel_values).save(file, quality=90)


def evaluate_noise(scale: Scale, *, points_at_once: int) -> None:
    """Evaluate 29 points of ResNet-50 on noise, for the memory that takes."""
    num_images, pixels = scale.choose((16, 64), (4, 16))
    source = noise_data(num_images // 2, pixels, scale).source
    Work(
        source,
        num_images // 2,
        num_points=29,
        constructor=lambda: resnet50(scale),
        points_at_once=points_at_once,
    ).together()
