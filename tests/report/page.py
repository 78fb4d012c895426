"""Reads a written page back as a browser would: its tables, ids, links and what it loads."""

from html.parser import HTMLParser

_LOADING = {"src", "srcset", "data", "poster", "background", "action"}
_VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """What a page consists of.

    Attributes:
        rows: Every table row, as the texts of its cells.
        row_of: Rows by the id of their ``<tr>``.
        ids: Ids of all elements.
        links: Targets of ``<a>``.
        loads: Everything that would be fetched.
        tags: Names of all elements.
        text: All text outside of style sheets.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.row_of: dict[str, list[str]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag not in _VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "tr":
            self.rows.append([])
            self.row_of[values.get("id", "")] = self.rows[-1]
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(values.get("href", ""))
        else:
            self.loads += [values[name] for name in ("href", "xlink:href") if name in values]
        self.loads += [value for name, value in values.items() if name in _LOADING]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
