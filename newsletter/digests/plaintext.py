"""The text part of a letter, written from Markdown's tokens, never scraped out of HTML.

At most 72 columns, but addresses whole; links as [1] with their list at the end; quotes behind
"> ", definitions and code indented, tables in columns where they fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from markdown_it.token import Token

from newsletter.digests import summary
from newsletter.digests.words import PARAGRAPH, Inline, Links
from newsletter.mail import columns

WIDTH = 72  # RFC 3676 §4.1 asks for lines under 78 that a quote mark or two do not push over it
_NARROWEST = 24
_INDENT = "    "
_LOOSE = frozenset({"blockquote", "bullet_list", "ordered_list", "dl", "footnote_block"})


@dataclass
class _Level:
    """A list item, quote or note: what its first line and its other lines begin with."""

    first: str
    rest: str
    used: bool = False


@dataclass
class _Table:
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    in_head: bool = False


def write(tokens: Iterable[Token]) -> str:
    """The text of `tokens` (blocks whose addresses are absolute and whose HTML is tidy)."""
    writer = _Writer()
    for token in tokens:
        writer.block(token)
    return writer.finish()


def opening(tokens: Iterable[Token], *, limit: int) -> str:
    """The first sentences of the first paragraphs, at most `limit` characters, in one line.

    Quotes and lists say nothing where they are torn from what stands around them: they count only
    when there is nothing else.
    """
    tokens = list(tokens)
    for among in (_LOOSE, frozenset[str]()):
        if words := " ".join(_prose(tokens, enough=4 * limit, without=among)):
            return summary.cut(words, limit=limit)
    return ""


def wrap(words: str) -> str:
    """One paragraph of plain words in lines of at most 72 columns."""
    return "\n".join(columns.lines(words, WIDTH))


def _prose(tokens: Iterable[Token], *, enough: int, without: frozenset[str]) -> Iterator[str]:
    """Paragraphs as single lines without links' numbers and pictures, until there are enough.

    without: the blocks whose paragraphs do not count.
    """
    length = 0
    depth = 0
    is_paragraph = False
    for token in tokens:
        block = token.type.rpartition("_")[0]
        depth += token.nesting if block in without else 0
        if depth:
            is_paragraph = False
        elif token.type == "paragraph_open":
            is_paragraph = True
        elif token.type.endswith("_open"):
            is_paragraph = False
        elif token.type == "inline" and is_paragraph:
            words = " ".join(Inline(links=None).write(token.children or []).split())
            if words:
                yield words
            length += len(words)
            if length > enough:
                return


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.levels: list[_Level] = []
        self.numbers: list[int | None] = []  # of the open lists; None for bullets
        self.links = Links()
        self.gap = False
        self.table: _Table | None = None
        self.heading = ""

    def block(self, token: Token) -> None:
        kind = token.type
        if kind == "inline":
            self.inline(token)
        elif kind in ("fence", "code_block"):
            self.write([f"{_INDENT}{line}" for line in token.content.rstrip("\n").split("\n")])
            self.gap = True
        elif kind == "html_block":
            inline = Inline(self.links)
            inline.markup(token.content)
            self.paragraphs("".join(inline.words))
        elif kind == "hr":
            self.gap = True
            self.write(["* * *"])
            self.gap = True
        elif kind == "heading_open":
            self.gap = True
            self.heading = token.tag
        elif kind == "heading_close":
            self.heading = ""
        elif kind in ("paragraph_close", "aside_close") and not token.hidden:
            self.gap = True
        elif kind.startswith(("table", "thead", "tr_")):
            self.row(kind)
        else:
            self.container(token)

    def container(self, token: Token) -> None:
        kind = token.type
        if kind == "blockquote_open":
            self.levels.append(_Level("> ", "> "))
        elif kind == "bullet_list_open":
            self.numbers.append(None)
        elif kind == "ordered_list_open":
            self.numbers.append(int(token.attrs.get("start", 1)))
        elif kind == "list_item_open":
            mark = "- "
            if self.numbers and (number := self.numbers[-1]) is not None:
                mark = f"{number}. "
                self.numbers[-1] = number + 1
            self.levels.append(_Level(mark, " " * len(mark)))
        elif kind in ("footnote_block_open", "dl_close"):
            self.gap = True
        elif kind == "dd_open":
            self.gap = False
            self.levels.append(_Level(_INDENT, _INDENT))
        elif kind == "footnote_open":
            mark = f"[*{token.meta['id'] + 1}] "
            self.levels.append(_Level(mark, " " * len(mark)))
        elif kind in ("blockquote_close", "list_item_close", "footnote_close", "dd_close"):
            level = self.levels.pop()
            if not level.used and kind == "list_item_close":
                self.levels.append(level)
                self.write([""])
                self.levels.pop()
            self.gap = self.gap or kind in ("blockquote_close", "dd_close")
        elif kind in ("bullet_list_close", "ordered_list_close"):
            self.numbers.pop()
            # A list inside a tight one does not part the items around it.
            self.gap = self.gap or not self.numbers

    def inline(self, token: Token) -> None:
        words = Inline(self.links).write(token.children or [])
        if self.table is not None:
            cells = self.table.head if self.table.in_head else self.table.rows[-1]
            cells.append(" ".join(words.split()))
        elif self.heading:
            lines = self.wrapped(" ".join(words.split()))
            # Titles of articles have dashes: what stands within one is lower.
            underlined = self.heading in ("h3", "h4") and lines
            line = "~" * max(map(columns.width, lines), default=0)
            self.write([*lines, line] if underlined else lines)
            self.gap = True
        else:
            self.paragraphs(words, gap=False)

    def paragraphs(self, words: str, *, gap: bool = True) -> None:
        for part in re.split(r"\n\s*\n", words):
            lines = [line for piece in part.split("\n") for line in self.wrapped(piece)]
            if lines:
                self.write(lines)
                self.gap = gap or self.gap
            if PARAGRAPH in words:
                self.gap = True

    def row(self, kind: str) -> None:
        if kind == "table_open":
            self.table = _Table()
        elif self.table is None:
            return
        elif kind == "thead_open":
            self.table.in_head = True
        elif kind == "thead_close":
            self.table.in_head = False
        elif kind == "tr_open" and not self.table.in_head:
            self.table.rows.append([])
        elif kind == "table_close":
            table, self.table = self.table, None
            self.gap = True
            self.write(_columns(table, self.room()) or self.records(table))
            self.gap = True

    def records(self, table: _Table) -> list[str]:
        """A table that is too wide for columns: each row as lines of "Head: cell"."""
        lines: list[str] = []
        for row in table.rows:
            if lines:
                lines.append("")
            for name, cell in zip(table.head, row, strict=False):
                lines += self.wrapped(f"{name}: {cell}" if name else cell)
        return lines

    def room(self) -> int:
        return max(_NARROWEST, WIDTH - sum(len(level.rest) for level in self.levels))

    def wrapped(self, words: str) -> list[str]:
        return columns.lines(words, self.room())

    def write(self, lines: list[str]) -> None:
        if self.gap and self.lines:
            self.lines.append("".join(level.rest for level in self.levels if level.used).rstrip())
        self.gap = False
        for line in lines:
            prefix = "".join(level.rest if level.used else level.first for level in self.levels)
            for level in self.levels:
                level.used = True
            self.lines.append((prefix + line).rstrip())

    def finish(self) -> str:
        if self.links.numbers:
            self.gap = True
            shown = {number: address for address, number in self.links.numbers.items()}
            self.write([f"[{n}] {a.removeprefix('mailto:')}" for n, a in sorted(shown.items())])
        return "\n".join(self.lines).strip("\n")


def _columns(table: _Table, room: int) -> list[str]:
    """The table in columns of equal width; empty when they do not fit into `room`."""
    rows = [table.head, *table.rows]
    widths = [
        max(columns.width(row[i]) if i < len(row) else 0 for row in rows)
        for i in range(len(rows[0]))
    ]
    if sum(widths) + 2 * (len(widths) - 1) > room:
        return []
    written = [
        "  ".join(
            cell + " " * (width - columns.width(cell))
            for cell, width in zip(row, widths, strict=False)
        ).rstrip()
        for row in rows
    ]
    return [written[0], "  ".join("-" * width for width in widths), *written[1:]]
