"""``lightning-sparse data-fashion``: Fashion-MNIST, for ``data=idx_folder``."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.data.fashion_package import fetch_fashion, is_fetched
from lightning_sparse.files.storage import told_if_not_written
from lightning_sparse.settings.images import FashionSettings


def run(settings: FashionSettings) -> None:
    """Fetch the four files unless they are there, as they were published.

    Raises:
        UserError: If they cannot be fetched, or the folder cannot be written.
    """
    out = Path(settings.out).expanduser().absolute()
    with told_if_not_written(out, "name another place with out=<folder>"):
        if is_fetched(out):
            said = "there already"
        else:
            fetch_fashion(out)
            said = "fetched"
    Console().print(
        f"{out}: Fashion-MNIST, {said}, checked", markup=False, highlight=False, soft_wrap=True
    )
