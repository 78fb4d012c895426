"""A small ImageNet: a folder of JPEGs and the ``.beton`` files written from it, once for all."""

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NUM_CLASSES, NUM_TRAIN, NUM_VAL = 3, 29, 11


@pytest.fixture(scope="session")
def ffcv_installed() -> None:
    """Skip where FFCV is not installed, except in continuous integration."""
    if importlib.util.find_spec("ffcv") is None:
        if os.environ.get("CI"):
            pytest.fail("no FFCV, and set-up did not install it")
        pytest.skip("no FFCV: make setup")


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth random images of many sizes and of both colour modes."""
    root = tmp_path_factory.mktemp("imagenet")
    for part, num_images in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        for index in range(num_images):
            folder = root / part / f"n{index % NUM_CLASSES:08d}"
            folder.mkdir(parents=True, exist_ok=True)
            image = smooth_image(index + 1000 * (part == "val"))
            image.convert("L" if index == 4 else "RGB").save(
                folder / f"{index:03d}.JPEG", quality=95
            )
    return root


@pytest.fixture(scope="session")
def beton_root(
    image_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    ffcv_installed: None,  # noqa: ARG001
) -> Path:
    """The same images, as raw pixels, so that both sides hold exactly the same."""
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, write_beton
    from lightning_sparse.data.image_folder import open_folders

    root = tmp_path_factory.mktemp("betons")
    for part, folder in zip(("train", "val"), open_folders(image_root, "imagenet"), strict=True):
        write_beton(
            folder.samples,
            root / f"{part}.beton",
            BetonSettings(mode="raw", max_resolution=400),
            root=image_root,
            num_workers=2,
        )
    return root


def smooth_image(seed: int) -> Image.Image:
    """Paint coarse random colours, enlarged: sharper than a photograph is nowhere."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    width, height = (int(length) for length in generator.integers(150, 260, 2))
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


class Stranger:
    """Somebody who may not do what root may; ``folder`` is reachable for both."""

    NOBODY = 65534

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Be this user in the block; outside of root's session everybody is one already."""
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(self.NOBODY)
        try:
            yield
        finally:
            if is_root:
                os.seteuid(0)


@pytest.fixture
def as_stranger() -> Iterator[Stranger]:
    """Files that may not be read are an error for everybody but root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Stranger(folder)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
