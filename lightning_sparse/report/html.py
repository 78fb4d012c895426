"""A document as one HTML file that loads nothing: style and figures are inside."""

import html
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
    Section,
    Small,
    Table,
    Text,
    as_inlines,
)
from lightning_sparse.report.drawing import inline_svg
from lightning_sparse.report.style import VERDICT_SYMBOLS
from lightning_sparse.report.stylesheet import STYLESHEET

_MOST_LINKS = 6  # in a cell, that are shown at once


def render_html(document: Document) -> str:
    """Write the whole page; every piece of text is escaped here and nowhere else."""
    title = html.escape(document.title)
    body = [f"<h1>{title}</h1>", *map(_block, document.opening)]
    body += [_section(section) for section in document.sections]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLESHEET}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    blocks = "\n".join(map(_block, section.blocks))
    return f"<section>\n<h2>{html.escape(section.title)}</h2>\n{blocks}\n</section>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, tone):
            return f'<p class="{tone}">{_text(text)}</p>'
        case Picture():
            return _picture(block)
        case Table():
            return _table(block)
        case Definitions(items):
            entries = (
                f"<dt>{html.escape(term)}</dt><dd>{html.escape(meaning)}</dd>"
                for term, meaning in items
            )
            return f"<dl>{''.join(entries)}</dl>"


def _picture(block: Picture) -> str:
    caption = html.escape(block.caption)
    return (
        f'<figure id="{html.escape(block.name)}">\n'
        f'<div role="img" aria-label="{caption}">{inline_svg(block.svg)}</div>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def _table(table: Table) -> str:
    classes = [_column_class(column, table) for column in table.columns]
    head = "".join(
        f'<th scope="col"{_class(name)}>{html.escape(column)}</th>'
        for column, name in zip(table.columns, classes, strict=True)
    )
    rows = "\n".join(_row(row, classes) for row in table.rows)
    caption = f"<caption>{html.escape(table.caption)}</caption>\n" if table.caption else ""
    return (
        f'<div class="table"><table>\n{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _column_class(column: str, table: Table) -> str:
    if column in table.numeric:
        return "number"
    return "records" if column == "records" else ""


def _row(row: Row, classes: Sequence[str]) -> str:
    anchor = f' id="{html.escape(row.anchor)}"' if row.anchor else ""
    cells = "".join(
        f"<td{_class(name)}>{_cell(cell)}</td>"
        for cell, name in zip(row.cells, classes, strict=True)
    )
    return f"<tr{anchor}{_class('part' if row.level else '')}>{cells}</tr>"


def _cell(cell: Text) -> str:
    """Fold what is mostly references, so that rows of many seeds stay rows."""
    num_links = sum(isinstance(piece, Link) for piece in as_inlines(cell))
    if num_links <= _MOST_LINKS:
        return _text(cell)
    return f"<details><summary>{num_links} records</summary>{_text(cell)}</details>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _text(text: Text) -> str:
    return "".join(map(_inline, as_inlines(text)))


def _inline(piece: Inline) -> str:
    match piece:
        case str():
            return html.escape(piece)
        case Link(text, target, hint):
            title = f' title="{html.escape(hint)}"' if hint else ""
            return f'<a href="{html.escape(target)}"{title}>{html.escape(text)}</a>'
        case Small(text):
            return f"<small>{html.escape(text)}</small>"
        case Badge(verdict):
            symbol = VERDICT_SYMBOLS.get(verdict, "")
            # One style for rules 1's word and rules 2's.
            name = verdict.replace("contradicted", "not supported").replace(" ", "-")
            return (
                f'<strong class="verdict {html.escape(name)}">{symbol} {html.escape(verdict)}'
                "</strong>"
            )
