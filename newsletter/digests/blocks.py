"""Cleaned HTML read as the blocks of Markdown, so that one writer makes the text part of both.

A block that Markdown has not is an aside: a paragraph that no summary begins with, such as what
stands below a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from markdown_it.token import Token

from newsletter.digests import rawhtml

# Each level costs columns: deeper lists and quotes are written at this one.
_MAX_LEVELS = 8
# What is wider is no table that anybody reads in a mail, and each of its rows would be as wide.
_MAX_COLUMNS = 20
_HEADINGS = {"h3", "h4", "h5", "h6"}
_LISTS = {"ul": "bullet_list", "ol": "ordered_list"}
_LEVELS = {**_LISTS, "li": "list_item", "dd": "dd", "dl": "dl", "blockquote": "blockquote"}
_TABLE = {"table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption"}


def blocks(cleaned: str) -> list[Token]:
    """The tokens that a Markdown parser would make of such a text; see `plaintext.write`.

    cleaned: HTML as `markup.html` makes it.
    """
    reader = _Reader()
    for kind, value, attributes in rawhtml.split(cleaned):
        if kind == "text":
            reader.text(value)
        elif kind == "open":
            reader.open(value, attributes)
        else:
            reader.close(value)
    reader.end()
    return reader.tokens


@dataclass
class _Row:
    cells: list[list[Token]] = field(default_factory=list)
    is_head: bool = True


class _Reader:
    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.inline: list[Token] = []
        self.links: list[str] = []  # where the open links lead; "" for one that leads nowhere
        self.levels: list[str] = []  # open lists, items and quotes that are written as such
        self.ignored: list[str] = []  # those that are too deep
        self.heading = ""
        self.is_caption = False
        self.is_term = False
        self.pre: list[str] | None = None
        self.tables = 0
        self.rows: list[_Row] = []
        # The end of the first paragraph of the item that is open; no gap follows it if it is alone.
        self.first: Token | None = None

    def text(self, words: str) -> None:
        if self.pre is not None:
            self.pre.append(words)
        else:
            words = re.sub(r"\s+", " ", words)
            self.add(Token("text", "", 0, content=words))

    def add(self, token: Token) -> None:
        target = self.inline
        if self.tables and not self.heading:
            if token.content == " " and not (self.rows and self.rows[-1].cells):
                return
            if not self.rows:
                self.rows.append(_Row())
            if not self.rows[-1].cells:
                self.rows[-1].cells.append([])
            target = self.rows[-1].cells[-1]
        if target or token.content != " ":
            target.append(token)

    def open(self, name: str, attributes: dict[str, str]) -> None:
        if name == "br":
            self.line_end()
        elif name == "img":
            alt = attributes.get("alt", "")
            self.add(Token("image", "img", 0, attrs={"alt": alt}, content=alt))
        elif name == "a":
            address = attributes.get("href", "")
            self.links.append(address)
            if address:
                self.add(_link(address))
        elif name in _TABLE:
            self.open_table(name)
        elif self.tables:
            self.add(Token("text", "", 0, content=" " if name in rawhtml.BLOCKS else ""))
        elif name in rawhtml.BLOCKS:
            self.open_block(name, attributes)

    def line_end(self) -> None:
        if self.pre is not None:
            self.pre.append("\n")
        elif self.tables or self.heading:
            self.add(Token("text", "", 0, content=" "))
        else:
            self.add(Token("hardbreak", "br", 0))

    def open_block(self, name: str, attributes: dict[str, str]) -> None:
        self.flush()
        self.is_caption = self.is_caption or name == "figcaption"
        self.is_term = name == "dt"
        if name in _HEADINGS:
            self.heading = name
        elif name == "hr":
            self.tokens.append(Token("hr", "hr", 0))
        elif name == "pre":
            self.pre = []
        elif name in _LEVELS:
            self.open_level(name, attributes)

    def open_level(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.levels) >= _MAX_LEVELS:
            self.ignored.append(name)
            return
        start = attributes.get("start", "")
        kept = {"start": int(start)} if name == "ol" and start else {}
        self.levels.append(name)
        self.tokens.append(Token(f"{_LEVELS[name]}_open", name, 1, attrs=dict(kept)))
        self.first = None

    def close(self, name: str) -> None:
        if name == "a":
            if self.links and self.links.pop():
                self.add(Token("link_close", "a", -1))
        elif name in _TABLE:
            self.close_table(name)
        elif self.tables:
            self.add(Token("text", "", 0, content=" " if name in rawhtml.BLOCKS else ""))
        elif name in rawhtml.BLOCKS:
            self.flush()
            self.heading = "" if name in _HEADINGS else self.heading
            self.is_caption = self.is_caption and name != "figcaption"
            self.is_term = self.is_term and name != "dt"
            if name == "pre" and self.pre is not None:
                code, self.pre = "".join(self.pre).strip("\n"), None
                self.tokens.append(Token("fence", "code", 0, content=code))
            elif name in _LEVELS:
                self.close_level(name)

    def close_level(self, name: str) -> None:
        if name in self.ignored:
            self.ignored.remove(name)
        elif self.levels and self.levels[-1] == name:
            self.levels.pop()
            self.tokens.append(Token(f"{_LEVELS[name]}_close", name, -1))
        self.first = None

    def flush(self) -> None:
        """End the paragraph or heading whose words were collected."""
        while self.inline and self.inline[-1].type in ("hardbreak", "softbreak"):
            self.inline.pop()
        # A link around several paragraphs, such as a card, is one in each of them.
        leading = list(filter(None, self.links))
        inline = [*self.inline, *(Token("link_close", "a", -1) for _ in leading)]
        self.inline = [_link(address) for address in leading]
        if not any(token.type == "image" or token.content.strip() for token in inline):
            return
        if self.heading:
            self.emit("heading", self.heading, inline)
        elif self.is_caption:
            self.emit("aside", "p", inline)
        elif self.is_term:
            self.emit("dt", "dt", inline)
        else:
            self.paragraph(inline)

    def paragraph(self, inline: list[Token]) -> None:
        is_item = bool(self.levels) and self.levels[-1] in ("li", "dd")
        if is_item and self.first is not None:
            self.first.hidden = False
        closing = self.emit("paragraph", "p", inline)
        closing.hidden = is_item
        self.first = closing if is_item else None

    def emit(self, kind: str, tag: str, inline: list[Token]) -> Token:
        closing = Token(f"{kind}_close", tag, -1)
        self.tokens += [
            Token(f"{kind}_open", tag, 1),
            Token("inline", "", 0, children=inline),
            closing,
        ]
        return closing

    def open_table(self, name: str) -> None:
        if name == "table":
            if not self.tables:
                self.flush()
            self.tables += 1
        elif not self.tables:
            self.flush()
        elif self.tables > 1:
            self.add(Token("text", "", 0, content=" "))
        elif name == "tr":
            self.rows.append(_Row())
        elif name in ("td", "th"):
            if not self.rows:
                self.rows.append(_Row())
            self.rows[-1].cells.append([])
            self.rows[-1].is_head = self.rows[-1].is_head and name == "th"

    def close_table(self, name: str) -> None:
        if name == "caption" and self.tables == 1:
            self.rows.append(_Row())
        if name != "table" or not self.tables:
            return
        self.tables -= 1
        if self.tables == 0:
            rows, self.rows = [row for row in self.rows if row.cells], []
            self.tokens += list(_table(rows))

    def end(self) -> None:
        self.flush()
        if self.tables:
            self.tables = 1
            self.close_table("table")
        while self.levels:
            self.close_level(self.levels[-1])


def _link(address: str) -> Token:
    return Token("link_open", "a", 1, attrs={"href": address})


def _table(rows: list[_Row]) -> Iterator[Token]:
    """A table with a head as a table, any other as a paragraph of each row: it is for the layout,
    or reads well in lines.
    """
    width = max((len(row.cells) for row in rows), default=0)
    if len(rows) < 2 or not 2 <= width <= _MAX_COLUMNS or not rows[0].is_head:
        for row in rows:
            inline: list[Token] = []
            for cell in filter(None, row.cells):
                inline += [*([Token("text", "", 0, content=" | ")] if inline else []), *cell]
            if inline:
                yield Token("aside_open", "p", 1)
                yield Token("inline", "", 0, children=inline)
                yield Token("aside_close", "p", -1)
        return
    yield Token("table_open", "table", 1)
    for place, row in enumerate(rows):
        if place == 0:
            yield Token("thead_open", "thead", 1)
        yield Token("tr_open", "tr", 1)
        for cell in [*row.cells, *([[]] * (width - len(row.cells)))]:
            yield Token("inline", "", 0, children=cell)
        yield Token("tr_close", "tr", -1)
        if place == 0:
            yield Token("thead_close", "thead", -1)
    yield Token("table_close", "table", -1)
