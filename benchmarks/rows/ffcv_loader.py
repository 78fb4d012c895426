"""Training views of ImageNet-like JPEG files by FFCV, against torchvision's folder loader.

The peer is the loader of torchvision's own ImageNet example: `ImageFolder`, `RandomResizedCrop`,
`RandomHorizontalFlip`, `ToTensor`, `Normalize`, and as many workers as cores. Same files, same
kind of views, same cores; FFCV's files are written from them, once as JPEG and once as raw pixels.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.evaluation import write_jpegs
from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import Scale, timed, use_cores
from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
from lightning_sparse.data.imagenet_ffcv import build_imagenet_ffcv

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BARS = {"jpg": 1 / 3, "raw": 1 / 8}


def trials(scale: Scale) -> Iterator[Trial]:
    """One epoch, per image."""
    use_cores()
    # As the beginning of an epoch would weigh little in one of a million images.
    num_images, batch_size = scale.choose((1024, 32), (8, 4))
    num_workers = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jpegs(folder / "images", num_images, pixels=scale.choose(400, 64))
        sides = {
            mode: Side(
                what=f"this project, .beton files, mode {mode}",
                measure=_per_image(_ours(folder, mode, batch_size, num_workers), num_images, scale),
            )
            for mode in _BARS
        }
        sides["torchvision"] = Side(
            what=f"ImageFolder and DataLoader, torchvision {torchvision.__version__}",
            measure=_per_image(
                _theirs(folder / "images/train", batch_size, num_workers), num_images, scale
            ),
        )
        yield Trial(
            name=f"one training image of 400 px, {num_workers} cores",
            sides=sides,
            claims=[
                Claim(
                    statement=f"{mode} / torchvision",
                    quantity=Ratio(mode, "torchvision"),
                    bar=bar,
                )
                for mode, bar in _BARS.items()
            ],
            seconds=40,
        )


def _ours(folder: Path, mode: str, batch_size: int, num_workers: int) -> Iterable[object]:
    for part in ("train", "val"):
        root = folder / "images"
        write_beton(
            ImageFolder(root / part).samples,
            folder / mode / f"{part}.beton",
            BetonSettings(mode=mode),
            root=root,
            num_workers=num_workers,
        )
    source = build_imagenet_ffcv(root=folder / mode, image_root=folder / "images")
    data = ImageDataModule(source, batch_size=batch_size, seed=1, num_workers=num_workers)
    return data.train_dataloader()


def _theirs(folder: Path, batch_size: int, num_workers: int) -> Iterable[object]:
    views = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
    )
    return DataLoader(
        ImageFolder(folder, views),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=True,
    )


def _per_image(loader: Iterable[object], num_images: int, scale: Scale) -> Callable[[], float]:
    def epoch() -> None:
        for _ in loader:
            pass

    seconds = timed(epoch, scale=scale)
    return lambda: seconds() / num_images
