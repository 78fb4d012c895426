"""``lightning-sparse data-imagenet``: image folders become ``.beton`` files."""

import importlib.util
from pathlib import Path

from rich.console import Console

from lightning_sparse.errors import UserError, as_line
from lightning_sparse.execution.session import num_cores
from lightning_sparse.files.storage import told_if_not_written
from lightning_sparse.settings.images import BetonFilesSettings, ImagenetSettings

_NUM_NAMED = 20


def run(settings: ImagenetSettings) -> None:
    """Write ``train.beton`` and ``val.beton`` from the folder that the settings name.

    Raises:
        UserError: If no folder is named, it is not of ImageNet's shape, an image is corrupt, or the
            disk is too small.
    """
    if settings.imagenet is None:
        raise UserError(
            "imagenet=null: name the folder that holds train/ and val/, for example "
            "`make data-imagenet IMAGENET=/data/imagenet`"
        )
    root = Path(settings.imagenet).expanduser().absolute()
    write_betons(root, "imagenet", settings, skip_corrupt=settings.skip_corrupt)


def write_betons(
    root: Path, field: str, settings: BetonFilesSettings, *, skip_corrupt: bool
) -> None:
    """Write both files from ``root``, and say what became of it.

    Args:
        root: Folder with ``train/<class>/`` and ``val/<class>/``.
        field: The setting that names it, for messages.
        settings: ``out``, ``num_workers`` and those of `BetonSettings`.
        skip_corrupt: Whether images that cannot be decoded are left out.

    Raises:
        UserError: See `lightning_sparse.data.ffcv.beton_writer.write_beton`.
    """
    if importlib.util.find_spec("ffcv") is None:
        raise UserError("FFCV is not installed, which writes these files; `make setup` installs it")
    # Only now: FFCV takes seconds to import, and a mistyped setting must not wait for it.
    from lightning_sparse.data.ffcv.beton_writer import BetonSettings, note_file, write_beton
    from lightning_sparse.data.image_folder import open_folders
    from lightning_sparse.data.imagenet_ffcv import PARTS

    beton_settings = BetonSettings(
        max_resolution=settings.max_resolution,
        mode=settings.mode,
        compress_probability=settings.compress_probability,
        jpeg_quality=settings.jpeg_quality,
    )
    out = Path(settings.out).expanduser().absolute()
    console = Console()
    for part, folder in zip(PARTS, open_folders(root, field), strict=True):
        file = out / f"{part}.beton"
        with told_if_not_written(out, "name another place with out=<folder>"):
            skipped = write_beton(
                folder.samples,
                file,
                beton_settings,
                root=root,
                num_workers=settings.num_workers or num_cores(),
                skip_corrupt=skip_corrupt,
            )
        lines = [
            f"{as_line(str(file))}: {len(folder.samples) - len(skipped)} images of "
            f"{len(folder.classes)} classes, {file.stat().st_size / 1e9:.2f} GB, checked"
        ]
        if skipped:
            note = as_line(str(note_file(file)))
            lines.append(f"left out {len(skipped)} corrupt images, listed in {note}:")
            lines += [f"  {as_line(name)}" for name in skipped[:_NUM_NAMED]]
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
