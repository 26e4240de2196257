"""An article's clean HTML as running text of a letter.

A page leaves these things to its stylesheet; mail programs take them from the markup or not at
all: pictures as wide as there is room, a wide table that scrolls by itself, numbers of lists that
have room beside them, and space within a quote or around code, which Outlook on Windows gives to
cells of tables only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from newsletter.mail.headings import headed
from newsletter.mail.pictures import fitted
from newsletter.mail.tags import VOID, around, split

_START = re.compile(r"\sstart=[\"']?(\d{1,4})")
_QUOTE = re.compile(r"<blockquote(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
_CELL = (
    '<table role="presentation" class="lines" width="100%" cellpadding="0" cellspacing="0" '
    'border="0"><tr><td class="{}">'
)
_CELL_END = "</td></tr></table>"


@dataclass
class _List:
    """An open list. place: of its tag among the parts. number: of its next item."""

    place: int
    number: int


def running(markup: str, room: int, level: int = 2) -> str:
    """`markup` as a letter shows it where there are `room` pixels.

    markup: clean HTML, every element of it closed in its turn. level: of its first heading, 1 to 6.
    """
    made = headed(fitted(markup, room), level)
    made = around(_numbered(made), "table", '<div class="scroll">', "</div>")
    # The gap is the block's: margins of a table are lost in Outlook, and within a cell in all.
    made = around(made, "pre", f'<div class="set">{_CELL.format("code")}', f"{_CELL_END}</div>")
    made = _QUOTE.sub(lambda found: found[0] + _CELL.format("bar"), made)
    return made.replace("</blockquote>", f"{_CELL_END}</blockquote>")


def _numbered(markup: str) -> str:
    """Each list of numbers with a class that says how many digits the last one has."""
    parts: list[str] = []
    open_tags: list[str] = []
    lists: list[_List] = []
    for tag in split(markup):
        parts += [tag.before, tag.written]
        if tag.name == "ol" and not tag.is_end:
            start = _START.search(tag.attributes)
            lists.append(_List(len(parts) - 1, int(start[1]) if start else 1))
        elif tag.name == "li" and not tag.is_end and lists and open_tags[-1:] == ["ol"]:
            lists[-1].number += 1
        elif tag.name == "ol" and lists:
            done = lists.pop()
            parts[done.place] = _with_room(parts[done.place], done.number - 1)
        if tag.is_end and tag.name in open_tags:
            while open_tags.pop() != tag.name:
                pass
        elif tag.name and not tag.is_end and tag.name not in VOID:
            open_tags.append(tag.name)
    return "".join(parts)


def _with_room(tag: str, last: int) -> str:
    digits = len(str(last))
    return tag if digits < 2 else f'<ol class="digits-{min(digits, 4)}"{tag[3:]}'
