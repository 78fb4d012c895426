"""Writes a document to a folder: one HTML page, its Markdown copy, and the figures."""

from collections.abc import Sequence
from pathlib import Path

from lightning_sparse.files.storage import write_bytes_atomic, write_text_atomic
from lightning_sparse.report.blocks import Document, Picture
from lightning_sparse.report.html import render_html
from lightning_sparse.report.markdown import render_markdown

PAGE = "report.html"


def write_pages(document: Document, folder: Path, further: Sequence[Picture] = ()) -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/``.

    Args:
        document: What the pages say.
        folder: Where to write; made if absent.
        further: Figures that no page shows.

    Returns:
        The HTML page.

    Raises:
        UserError: If the folder cannot be written.
    """
    # The pages come last: whoever finds one finds the figures that it shows.
    for picture in [*document.pictures, *further]:
        write_text_atomic(folder / "figures" / f"{picture.name}.svg", picture.svg)
        write_bytes_atomic(folder / "figures" / f"{picture.name}.png", picture.png)
    write_text_atomic(folder / "report.md", render_markdown(document))
    write_text_atomic(folder / PAGE, render_html(document))
    return folder / PAGE
