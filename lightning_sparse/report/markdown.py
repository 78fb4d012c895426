"""A document as Markdown, with its figures as files beside it."""

import html
import re
from collections.abc import Sequence

from lightning_sparse.report.blocks import (
    Badge,
    Block,
    Definitions,
    Document,
    Inline,
    Link,
    Paragraph,
    Picture,
    Row,
    Small,
    Table,
    Text,
    as_inlines,
)
from lightning_sparse.report.style import VERDICT_SYMBOLS

# An underscore inside a word is no markup, and ids stay readable without a backslash.
_MARKUP = re.compile(r"([\\`*\[\]|]|(?<!\w)_|_(?!\w))")


def render_markdown(document: Document, figures: str = "figures") -> str:
    """Write the whole page.

    Args:
        document: What to write.
        figures: Folder of the figures, as seen from the file.
    """
    parts = [f"# {escape(document.title)}"]
    parts += [_block(block, figures) for block in document.opening]
    for section in document.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_block(block, figures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def render_blocks(blocks: Sequence[Block]) -> str:
    """Write blocks without pictures, for a page that has other things too."""
    return "\n\n".join(_block(block, "") for block in blocks)


def render_table(table: Table) -> str:
    """Write a table, its caption above it."""
    rules = ["---:" if column in table.numeric else "---" for column in table.columns]
    lines = [_line([escape(column) for column in table.columns]), _line(rules)]
    lines += [_line(_cells(row)) for row in table.rows]
    return "\n".join([f"{escape(table.caption)}\n", *lines] if table.caption else lines)


def escape(text: str) -> str:
    r"""Make text from anywhere show as it is, in Markdown and in the HTML that it may contain.

    Example:
        >>> escape("<script> *a* seed_1 |")
        '&lt;script&gt; \\*a\\* seed_1 \\|'
    """
    escaped = _MARKUP.sub(r"\\\1", html.escape(text, quote=False))
    return re.sub(r"\s+", " ", escaped)


def _block(block: Block, figures: str) -> str:
    match block:
        case Paragraph(text, tone):
            return f"{'> ' if tone == 'note' else ''}{_text(text)}"
        case Picture(name=name, caption=caption):
            return f"![{escape(name)}]({figures}/{name}.png)\n\n*{escape(caption)}*"
        case Table():
            return render_table(block)
        case Definitions(items):
            return "\n".join(f"- **{escape(term)}**: {escape(meaning)}" for term, meaning in items)


def _cells(row: Row) -> Sequence[str]:
    first, *rest = [_text(cell) for cell in row.cells]
    if row.anchor:
        first = f'<a id="{html.escape(row.anchor)}"></a>{first}'
    return [f"&nbsp;&nbsp;{first}" if row.level else first, *rest]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: Text) -> str:
    """Write text; what is small stands on lines of its own, as on the page."""
    pieces = as_inlines(text)
    follows_small = [False, *(isinstance(piece, Small) for piece in pieces)]
    written = (
        f"<br>{_inline(piece)}" if follows and not isinstance(piece, Small) else _inline(piece)
        for piece, follows in zip(pieces, follows_small, strict=False)
    )
    return "".join(written).removeprefix("<br>")


def _inline(piece: Inline) -> str:
    match piece:
        case str():
            return escape(piece)
        case Link(text, target):
            return f"[{escape(text)}]({target})"
        case Small(text):
            return f"<br>{escape(text)}"
        case Badge(verdict):
            return f"**{VERDICT_SYMBOLS.get(verdict, '')} {escape(verdict)}**"
