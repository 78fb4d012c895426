"""What a page consists of, before it becomes HTML or Markdown.

Text is plain here and escaped by the renderers alone, so nothing that comes from a record or a
configuration can be mistaken for markup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Link:
    """Text that leads to ``target``: ``#anchor`` on this page, or an address to cite.

    Attributes:
        text: What is shown.
        target: Where it leads.
        hint: Longer text shown when pointed at.
    """

    text: str
    target: str
    hint: str = ""


@dataclass(frozen=True)
class Badge:
    """A verdict, shown by colour and symbol and word."""

    verdict: str


@dataclass(frozen=True)
class Small:
    """A remark of less weight than what it stands below."""

    text: str


Inline = str | Link | Badge | Small
Text = str | Sequence[Inline]


@dataclass(frozen=True)
class Paragraph:
    """Running text; ``tone`` says whether it is an ordinary one or a note that something lacks."""

    text: Text
    tone: Literal["plain", "note"] = "plain"


@dataclass(frozen=True)
class Row:
    """One row of a table; ``level`` 1 is a part of the row of level 0 above it."""

    cells: Sequence[Text]
    anchor: str = ""
    level: int = 0


@dataclass(frozen=True)
class Table:
    """A table; the columns named in ``numeric`` hold numbers and are set flush right."""

    columns: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""
    numeric: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A figure in both formats, with a caption that also serves those who cannot see it.

    Attributes:
        name: Stem of the files below ``figures/``.
        svg: The whole SVG file.
        png: The whole PNG file.
        caption: One or two sentences on what is to be seen.
    """

    name: str
    svg: str
    png: bytes
    caption: str


@dataclass(frozen=True)
class Definitions:
    """Terms with their meanings."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A heading and what follows it, up to the next one."""

    title: str
    blocks: "Sequence[Block]"


Block = Paragraph | Table | Picture | Definitions


@dataclass(frozen=True)
class Document:
    """A whole page: what it opens with, then its sections."""

    title: str
    opening: Sequence[Block]
    sections: Sequence[Section]

    @property
    def pictures(self) -> list[Picture]:
        """Every figure of the page, in reading order."""
        blocks = [*self.opening, *(block for section in self.sections for block in section.blocks)]
        return [block for block in blocks if isinstance(block, Picture)]


def as_inlines(text: Text) -> Sequence[Inline]:
    """Return text as a sequence of pieces, whichever way it was written."""
    return (text,) if isinstance(text, str) else text
