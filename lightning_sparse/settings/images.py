"""Settings of the commands that write image sets; each is a file of its own."""

from dataclasses import dataclass

from lightning_sparse.fields import setting


@dataclass(frozen=True, kw_only=True)
class FashionSettings:
    """Of ``data-fashion``.

    Attributes:
        out: Folder that gets the four files.
    """

    out: str = setting(is_place=True)


@dataclass(frozen=True, kw_only=True)
class BetonFilesSettings:
    """Of what writes ``train.beton`` and ``val.beton``.

    Attributes:
        out: Folder that gets them.
        max_resolution: Longest side of a stored image, in pixels.
        mode: ``jpg``, ``raw`` or ``proportion``.
        compress_probability: Of a JPEG where the mode is ``proportion``.
        jpeg_quality: From 1 to 100.
        num_workers: Processes that encode; 0: one per core.
    """

    out: str = setting(is_place=True)
    max_resolution: int
    mode: str
    compress_probability: float
    jpeg_quality: int
    num_workers: int = setting(at_least=0)


@dataclass(frozen=True, kw_only=True)
class ImagenetSettings(BetonFilesSettings):
    """Of ``data-imagenet``.

    Attributes:
        imagenet: Folder with ``train/<class>/`` and ``val/<class>/``.
        skip_corrupt: Whether what cannot be decoded is left out, and listed.
    """

    imagenet: str | None = setting(is_place=True)
    skip_corrupt: bool


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings(BetonFilesSettings):
    """Of ``data-synthetic``.

    Attributes:
        images: Folder that gets the JPEGs.
        num_classes: How many there are.
        num_train: Images for training.
        num_val: Images for validation.
        size: Height and width, in pixels.
    """

    images: str = setting(is_place=True)
    num_classes: int = setting(at_least=1)
    num_train: int = setting(at_least=1)
    num_val: int = setting(at_least=1)
    size: int = setting(at_least=8)


DataSettings = FashionSettings | ImagenetSettings | SyntheticSettings

COMMANDS: dict[str, type[DataSettings]] = {
    "data-fashion": FashionSettings,
    "data-imagenet": ImagenetSettings,
    "data-synthetic": SyntheticSettings,
}
"""By the verb whose they are."""
