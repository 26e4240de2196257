"""The tags and the words of a text that is meant to be XML, in one pass over it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Linear, as no text can keep more than two unfinished tries alive: what a quotation mark hides
# from one try it shows to the next.
_TAG = re.compile(
    r"<(/?)([a-z_][\w.-]*(?::[a-z_][\w.-]*)?)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>",
    re.ASCII | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(
    r"(?<![\w:.-])([a-z_][\w.-]*(?::[a-z_][\w.-]*)?)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+)",
    re.ASCII | re.IGNORECASE,
)
_REFERENCE = re.compile(r"&(?:#[xX][0-9A-Fa-f]{1,6}|#[0-9]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")
# What is no character of XML 1.0 (§2.2).
_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUBSET_END = re.compile(r"\]\s*>")
_CDATA, _CDATA_END = "<![CDATA[", "]]>"
_COMMENT, _COMMENT_END = "<!--", "-->"


@dataclass(frozen=True)
class Tag:
    """One tag as it was written. inside: what follows the name, up to the closing bracket.

    closing: it ends an element. empty: it is an element without content.
    """

    name: str
    inside: str
    closing: bool

    @property
    def empty(self) -> bool:
        """Whether it closes itself."""
        return not self.closing and self.inside.rstrip().endswith("/")

    @property
    def prefix(self) -> str:
        """What stands before the colon of its name, or ""."""
        return self.name.rpartition(":")[0]

    @property
    def local(self) -> str:
        """Its name without the prefix, in lower case."""
        return self.name.rpartition(":")[2].lower()

    @property
    def attributes(self) -> dict[str, str]:
        """Its attributes, decoded, by their names in lower case; the first of a name counts."""
        found: dict[str, str] = {}
        for each in () if self.closing else _ATTRIBUTE.finditer(self.inside):
            value = each[2][1:-1] if each[2][0] in "\"'" else each[2].removesuffix("/")
            found.setdefault(each[1].lower(), characters(value).strip())
        return found


def tags(text: str) -> Iterator[str | Tag]:
    """The tags of `text`, and between them its words with their references made characters.

    Comments, processing instructions and document types are left out; nothing that a document type
    says is believed. A "<" that begins nothing is a word. Each step goes forward, so that the
    whole is linear in the length.
    """
    text = fit(text)
    place = 0
    while place < len(text):
        start = text.find("<", place)
        if start < 0:
            yield characters(text[place:])
            return
        if start > place:
            yield characters(text[place:start])
        if text.startswith(_CDATA, start):
            end = _find(text, _CDATA_END, start)
            yield text[start + len(_CDATA) : end]
            place = end + len(_CDATA_END)
        elif text.startswith(_COMMENT, start):
            place = _find(text, _COMMENT_END, start + len(_COMMENT)) + len(_COMMENT_END)
        elif text.startswith("<?", start):
            place = _find(text, "?>", start) + 2
        elif text.startswith("<!", start):
            place = _after_declaration(text, start)
        elif found := _TAG.match(text, start):
            yield Tag(name=found[2], inside=found[3], closing=bool(found[1]))
            place = found.end()
        else:
            yield "<"
            place = start + 1


def fit(text: str) -> str:
    """`text` without the characters that no XML document may contain."""
    return _UNFIT.sub("", text)


def characters(text: str) -> str:
    """`text` with its references made characters; what is no reference stays as it is."""
    if "&" not in text:
        return text
    return fit(_REFERENCE.sub(lambda found: html.unescape(found[0]), text))


def _find(text: str, what: str, start: int) -> int:
    place = text.find(what, start)
    return len(text) if place < 0 else place


def _after_declaration(text: str, start: int) -> int:
    """Where a document type, with all that is declared in it, is over."""
    end = _find(text, ">", start)
    subset = text.find("[", start, end)
    if subset < 0:
        return end + 1
    found = _SUBSET_END.search(text, subset)
    return found.end() if found else len(text)
