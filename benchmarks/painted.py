"""Painted images as ``.beton`` files, as `data-synthetic` writes them, and what they weigh."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import Scale
from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
from lightning_sparse.data.image_folder import open_folders
from lightning_sparse.data.imagenet_ffcv import PARTS, build_imagenet_ffcv
from lightning_sparse.data.source import ImageSource
from lightning_sparse.data.synthetic_folder import write_synthetic_folder
from lightning_sparse.execution.session import num_cores

_NUM_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A data set read from ``.beton`` files.

    Attributes:
        source: The data set.
        pixels: Height and width of what is stored.
        bytes_per_image: Mean size of a training JPEG, on which the cost of decoding depends.
        num_threads: How many threads decode: all cores but two, which drive the device.
    """

    source: ImageSource
    pixels: int
    bytes_per_image: float
    num_threads: int

    @property
    def what(self) -> str:
        """What stands beside every number that comes from these files."""
        return (
            f"JPEGs of {self.pixels} px and {self.bytes_per_image / 1e3:.0f} kB in a .beton, "
            f"{self.num_threads} threads"
        )


def paint(folder: Path, scale: Scale, *, num_train: int, size: int) -> Painted:
    """Paint images, and write each of them into the training file as often as is needed.

    Args:
        folder: Where to.
        scale: Whether few and small ones do.
        num_train: Training images in the file.
        size: Height and width that the network sees.
    """
    pixels = scale.choose(400, 48)
    num_painted = min(max(num_train, _NUM_CLASSES), scale.choose(1024, 16))
    write_synthetic_folder(
        folder / "images",
        num_classes=_NUM_CLASSES,
        num_train=num_painted,
        num_val=scale.choose(256, 16),
        size=pixels,
        num_workers=num_cores(),
    )
    for part, images in zip(PARTS, open_folders(folder / "images", "images"), strict=True):
        repeats = -(-num_train // num_painted) if part == "train" else 1
        write_beton(
            images.samples * repeats,
            folder / f"{part}.beton",
            BetonSettings(mode="jpg"),
            root=folder / "images",
            num_workers=num_cores(),
        )
    source = build_imagenet_ffcv(
        root=folder, image_root=folder / "images", size=size, resize=size * 8 // 7
    )
    files = list((folder / "images" / "train").rglob("*.JPEG"))
    return Painted(
        # The network is that of the other rows: most of its classes have no image.
        source=dataclasses.replace(source, num_classes=scale.choose(1000, _NUM_CLASSES)),
        pixels=pixels,
        bytes_per_image=sum(file.stat().st_size for file in files) / len(files),
        num_threads=max(1, num_cores() - 2),
    )
