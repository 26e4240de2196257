"""The words of one paragraph of the text part, and the numbers of its links."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markdown_it.token import Token

from newsletter.digests import rawhtml

PARAGRAPH = "\n\n"


class Links:
    """The numbers of the links of one piece; one address has one number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, address: str) -> int:
        return self.numbers.setdefault(address, len(self.numbers) + 1)


class Inline:
    """The words of one paragraph. Line breaks in the result are the author's own.

    links: where addresses get their numbers; None leaves addresses and pictures out.
    """

    def __init__(self, links: Links | None) -> None:
        self.links = links
        self.words: list[str] = []
        self.open: list[tuple[str, int]] = []  # address, and where its words begin

    def write(self, tokens: Iterable[Token]) -> str:
        for token in tokens:
            self.token(token)
        return "".join(self.words)

    def token(self, token: Token) -> None:
        if token.type in ("text", "code_inline", "text_special"):
            self.words.append(token.content)
        elif token.type == "softbreak":
            self.words.append(" ")
        elif token.type == "hardbreak":
            self.words.append("\n")
        elif token.type == "link_open":
            self.open.append((str(token.attrs["href"]), len(self.words)))
        elif token.type == "link_close":
            self.close()
        elif token.type == "image":
            alt = Inline(links=None).write(token.children or []) or token.content
            self.picture(alt)
        elif token.type == "footnote_ref" and self.links is not None:
            self.words.append(f"[*{token.meta['id'] + 1}]")
        elif token.type == "html_inline":
            self.markup(token.content)

    def markup(self, tidy: str) -> None:
        """Words out of HTML that `rawhtml.tidy` made."""
        for kind, value, attributes in rawhtml.split(tidy):
            if kind == "text":
                self.words.append(re.sub(r"\s+", " ", value))
            elif value == "br":
                self.words.append("\n")
            elif value in rawhtml.BLOCKS:
                self.words.append(PARAGRAPH)
            elif value == "img":
                self.picture(attributes.get("alt", ""))
            elif value == "a" and kind == "close":
                self.close()
            elif value == "a":
                self.open.append((attributes.get("href", ""), len(self.words)))

    def picture(self, alt: str) -> None:
        alt = " ".join(alt.split())
        if alt and self.links is not None:
            self.words.append(f"[{alt}]")

    def close(self) -> None:
        if not self.open:
            return
        address, start = self.open.pop()
        words = "".join(self.words[start:]).strip()
        if not address or self.links is None:
            return
        shown = address.removeprefix("mailto:")
        if words in (address, shown) or not words:
            self.words[start:] = [shown]
        else:
            self.words.append(f" [{self.links.number(address)}]")
