"""``lightning-sparse data-synthetic``: a procedural image set, ImageNet-shaped, in both forms."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.cli.data_imagenet import write_betons
from lightning_sparse.execution.session import num_cores
from lightning_sparse.files.storage import told_if_not_written
from lightning_sparse.settings.images import SyntheticSettings


def run(settings: SyntheticSettings) -> None:
    """Paint the JPEGs that are not there yet, then write ``.beton`` files from them.

    Raises:
        UserError: If the folder holds other images, or the disk is too small.
    """
    from lightning_sparse.data.synthetic_folder import write_synthetic_folder

    root = Path(settings.images).expanduser().absolute()
    with told_if_not_written(root, "name another place with images=<folder>"):
        write_synthetic_folder(
            root,
            num_classes=settings.num_classes,
            num_train=settings.num_train,
            num_val=settings.num_val,
            size=settings.size,
            num_workers=settings.num_workers or num_cores(),
        )
    Console().print(f"{root}: painted", markup=False, highlight=False, soft_wrap=True)
    write_betons(root, "images", settings, skip_corrupt=False)
