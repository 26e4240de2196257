"""Tags of clean HTML as a sanitiser writes them: small letters, each element closed in its turn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
VOID = {"br", "hr", "img"}


class Tag(NamedTuple):
    """before: the text between the last tag and this one. written: all of it; "" at the end."""

    before: str
    written: str
    is_end: bool
    name: str
    attributes: str


def split(markup: str) -> Iterator[Tag]:
    """The tags of `markup` with the text before each, and at last the text behind them."""
    end = 0
    for found in _TAG.finditer(markup):
        before = markup[end : found.start()]
        yield Tag(before, found[0], bool(found[1]), found[2], found[3])
        end = found.end()
    yield Tag(markup[end:], "", False, "", "")


def around(markup: str, name: str, before: str, after: str, *, inside: str = "") -> str:
    """`markup` with `before` and `after` around each element `name` that is not within another.

    inside: goes behind the name in its start tag.
    """
    parts: list[str] = []
    depth = 0
    for tag in split(markup):
        parts.append(tag.before)
        is_one = tag.name == name
        if is_one and tag.is_end:
            depth -= 1
            parts += [tag.written, after if depth == 0 else ""]
        elif is_one:
            parts += [before, f"<{name}{inside}{tag.attributes}>"] if depth == 0 else [tag.written]
            depth += 1
        else:
            parts.append(tag.written)
    return "".join(parts)
