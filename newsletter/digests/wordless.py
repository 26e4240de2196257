"""Links, pictures and tables in cleaned HTML that a letter would show wrongly, mended.

A picture that nobody described is read out as the name of its file, so it counts as an ornament. A
link around nothing that can be seen, such as sites put around an enlargement, is read out as its
address, so what it holds stays and the link goes; and so does one that has no address left. The
sign behind a heading or a footnote, which leads back into the article that one reads already, goes
altogether. A table with another one in it is there for the layout, and says so.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag

_ATTRIBUTES = r"(?:[^<>\"']|\"[^\"]*\"|'[^']*')*"
_PICTURE = re.compile(rf"<img\b({_ATTRIBUTES})>")
_TAG = re.compile(rf"<(/?)([a-z][a-z0-9]*)\b({_ATTRIBUTES})>")
_ALT = re.compile(r"\salt=(\"[^\"]*\"|'[^']*')")
_HREF = re.compile(r"\shref=(\"[^\"]*\"|'[^']*')")
_LAYOUT = ' role="presentation"'
# What themes put behind headings and footnotes; the last two are how a sign is to be shown.
_BACK = frozenset("¶§#^↩↪↑↰⤴⏎⬆🔗⚓∞☍⮐←→*[]() \xa0\ufe0e\ufe0f")


def mended(cleaned: str, *, own: str | None = None) -> str:
    """`cleaned` with what the module promises.

    own: the address of the article that it is of; None when nobody knows.
    """
    if "<img" in cleaned:
        cleaned = _PICTURE.sub(_with_alt, cleaned)
    if "<a" not in cleaned and "<table" not in cleaned:
        return cleaned
    return _Mending(own).all(cleaned)


def is_seen(text: str) -> bool:
    """Whether anything in it can be seen: a letter, a digit or a sign."""
    return any(unicodedata.category(c)[0] in "LNPS" for c in text)


@dataclass
class _Link:
    """An open link. place: of its tag among the parts. words: what can be seen in it."""

    place: int
    address: str
    words: str = ""


class _Mending:
    def __init__(self, own: str | None) -> None:
        self.own = urldefrag(own).url if own else None
        self.parts: list[str] = []
        self.texts: list[int] = []  # the places of words
        self.links: list[_Link] = []
        self.tables: list[int] = []  # the places of the tags of those that are open

    def all(self, cleaned: str) -> str:
        for part, tag in _split(cleaned):
            if tag is None:
                self.see(html.unescape(part))
                self.texts.append(len(self.parts))
                self.parts.append(part)
            elif tag[2] == "a":
                self.link(tag)
            elif tag[2] == "table":
                self.table(tag)
            else:
                alt = _ALT.search(tag[3]) if tag[2] == "img" else None
                if alt:
                    self.see(html.unescape(alt[1][1:-1]))
                self.parts.append(part)
        return "".join(self.parts)

    def see(self, words: str) -> None:
        # The inner one counts: one in another is closed first, and tells it then.
        if self.links:
            self.links[-1].words += words

    def link(self, tag: re.Match[str]) -> None:
        if not tag[1]:
            found = _HREF.search(tag[3])
            address = html.unescape(found[1][1:-1]) if found else ""
            self.links.append(_Link(len(self.parts), address))
            self.parts.append(tag[0])
            return
        link = self.links.pop()
        self.see(link.words)
        is_told = is_seen(link.words)
        leads_back = (
            self.own is not None
            and urldefrag(link.address).url == self.own
            and not any(c.isalnum() for c in link.words)
        )
        if link.address and is_told and not leads_back:
            self.parts.append(tag[0])
            return
        self.parts[link.place] = ""
        if leads_back and is_told and _BACK.issuperset(link.words):
            while self.texts and self.texts[-1] > link.place:
                self.parts[self.texts.pop()] = ""

    def table(self, tag: re.Match[str]) -> None:
        if tag[1]:
            self.tables.pop()
        else:
            if self.tables and _LAYOUT not in self.parts[self.tables[-1]]:
                outer = self.parts[self.tables[-1]]
                self.parts[self.tables[-1]] = f"{outer[:-1]}{_LAYOUT}>"
            self.tables.append(len(self.parts))
        self.parts.append(tag[0])


def _split(cleaned: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    end = 0
    for found in _TAG.finditer(cleaned):
        if found.start() > end:
            yield cleaned[end : found.start()], None
        yield found[0], found
        end = found.end()
    if end < len(cleaned):
        yield cleaned[end:], None


def _with_alt(found: re.Match[str]) -> str:
    return found[0] if _ALT.search(found[1]) else f'<img{found[1]} alt="">'
