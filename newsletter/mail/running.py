"""An article's clean HTML as running text of a letter.

A page leaves these things to its stylesheet; mail programs take them from the markup or not at
all: pictures as wide as there is room, a wide table that scrolls by itself, numbers of lists that
have room beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from newsletter.mail.pictures import fitted

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
_START = re.compile(r"\sstart=[\"']?(\d{1,4})")
_VOID = {"br", "hr", "img"}
_SCROLLING = ('<div class="scroll">', "</div>")


@dataclass
class _List:
    """An open list. place: of its tag among the parts. number: of its next item."""

    place: int
    number: int


def running(markup: str, room: int) -> str:
    """`markup` as a letter shows it where there are `room` pixels.

    markup: clean HTML, every element of it closed in its turn.
    """
    return "".join(_parts(fitted(markup, room)))


def _parts(markup: str) -> list[str]:
    parts: list[str] = []
    open_tags: list[str] = []
    lists: list[_List] = []
    for text, tag, closing, name, attributes in _split(markup):
        parts.append(text)
        if name == "table" and closing and open_tags.count(name) == 1:
            parts += [tag, _SCROLLING[1]]
        elif name == "table" and not closing and name not in open_tags:
            parts += [_SCROLLING[0], tag]
        else:
            parts.append(tag)
        if name == "ol" and not closing:
            start = _START.search(attributes)
            lists.append(_List(len(parts) - 1, int(start[1]) if start else 1))
        elif name == "li" and not closing and lists and open_tags[-1:] == ["ol"]:
            lists[-1].number += 1
        elif name == "ol" and closing and lists:
            done = lists.pop()
            parts[done.place] = _with_room(parts[done.place], done.number - 1)
        if closing and name in open_tags:
            while open_tags.pop() != name:
                pass
        elif name and not closing and name not in _VOID:
            open_tags.append(name)
    return parts


def _split(markup: str) -> Iterator[tuple[str, str, bool, str, str]]:
    """Text and the tag behind it: as it is written, whether it closes, name, attributes."""
    end = 0
    for found in _TAG.finditer(markup):
        yield markup[end : found.start()], found[0], bool(found[1]), found[2], found[3]
        end = found.end()
    yield markup[end:], "", False, "", ""


def _with_room(tag: str, last: int) -> str:
    """The tag of a list of numbers with a class that says how many digits the last one has."""
    digits = len(str(last))
    return tag if digits < 2 else f'<ol class="digits-{min(digits, 4)}"{tag[3:]}'
