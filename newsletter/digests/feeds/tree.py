"""Any text read as the tree of a feed: what is broken is mended, and nothing takes long.

XML parsers refuse what is not well-formed, and a good part of the feeds on the web is not; parsers
that guess have expressions that a stranger can keep busy for minutes. Here, in one pass that is
linear in the length, elements are closed in their turn, prefixes mean what they are declared as or
else what everybody uses them for, an element that holds text is one text whether its HTML is
quoted, in a CDATA section, bare or XHTML, and what is too deep, too many or too long is left out.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from newsletter.digests import rawhtml
from newsletter.digests.feeds.tags import Tag, tags

_MAX_DEPTH = 60
# Of one name in one entry: no article has more categories, links or pictures.
_MAX_SIBLINGS = 100
# Tags and pieces of text that are looked at; two hundred long entries of XHTML have 100,000.
_MAX_TOKENS = 250_000
_MAX_PREFIXES = 50
# Characters of an element, by what it holds.
LONGEST_TEXT = 600_000
LONGEST_FIELD = 4_000

_ROOTS = {"rss", "feed", "rdf", "channel"}
ENTRIES = {"item", "entry"}
# Elements that hold one text, HTML or not.
_TEXTS = {
    *("title", "description", "summary", "content", "subtitle", "tagline", "body", "rights"),
    *("content:encoded", "itunes:summary", "itunes:subtitle", "xhtml:body"),
    *("media:description", "media:title"),
}
# An element of these names ends a text that somebody forgot to end.
_FIELDS = {
    *ENTRIES,
    *("channel", "title", "link", "description", "guid", "id", "pubdate", "published", "updated"),
    *("author", "category", "comments", "enclosure", "source", "content:encoded", "summary"),
}

# What namespaces are called here: by what everybody calls them.
_PREFIXES = {
    "http://www.w3.org/2005/atom": "",
    "http://purl.org/atom/ns#": "",
    "http://purl.org/rss/1.0/": "",
    "http://my.netscape.com/rdf/simple/0.9/": "",
    "http://channel.netscape.com/rdf/simple/0.9/": "",
    "http://backend.userland.com/rss2": "",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
    "http://purl.org/rss/1.0/modules/content/": "content",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://www.itunes.com/dtds/podcast-1.0.dtd": "itunes",
    "http://search.yahoo.com/mrss/": "media",
    "http://search.yahoo.com/mrss": "media",
    "http://rssnamespace.org/feedburner/ext/1.0": "feedburner",
    "http://www.w3.org/1999/xhtml": "xhtml",
}


@dataclass(eq=False)
class Node:
    """One element. name: with the usual prefix, in lower case. text: all that is in it, as HTML
    when `is_markup`, else plain. base: its xml:base, absolute, or that of what is around it, or "".
    language: the same of xml:lang.
    """

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    text: str = ""
    is_markup: bool = False
    base: str = ""
    language: str = ""

    def all(self, *names: str) -> list[Node]:
        """The children of these names, in the order of the names."""
        return [child for name in names for child in self.children if child.name == name]

    def first(self, *names: str) -> Node | None:
        """The first child that has one of these names and says something; earlier names first."""
        return next((child for child in self.all(*names) if child.text.strip()), None)

    def value(self, *names: str) -> str:
        """The text of `first`, or ""."""
        found = self.first(*names)
        return found.text.strip() if found else ""

    def get(self, name: str) -> str:
        """An attribute, or ""."""
        return self.attributes.get(name, "")


def read(text: str, *, url: str, max_entries: int) -> Node | None:
    """The root of the feed in `text` with at most `max_entries` entries; None when it is none.

    url: where the text came from.
    """
    return _Builder(url, max_entries).read(text)


@dataclass(eq=False)
class _Open:
    """An element that is being read. scope: what its prefixes mean. room: characters it may still
    take. is_xml: its tags are markup and its words are not.
    """

    tag: str
    node: Node
    scope: dict[str, str]
    room: int
    is_xml: bool = False
    parts: list[str] = field(default_factory=list)


class _Builder:
    def __init__(self, url: str, max_entries: int) -> None:
        self.max_entries = max_entries
        self.entries = 0
        self.url = url
        self.open = [_Open("", Node(""), {}, 0)]
        # Of the entry that is being read (or of what stands before the first).
        self.siblings: Counter[str] = Counter()
        self.ignored: list[str] = []  # tags of elements that are left out, with all in them

    def read(self, text: str) -> Node | None:
        for token in self.from_root(islice(tags(text), _MAX_TOKENS)):
            if isinstance(token, Tag):
                self.tag(token)
            elif not self.ignored:
                self.words(token)
            # What follows the root is not the feed's, and what follows enough entries is more.
            if self.entries > self.max_entries or len(self.open) == 1:
                break
        while len(self.open) > 1:
            self.close()
        return next(iter(self.open[0].node.children), None)

    def from_root(self, tokens: Iterator[str | Tag]) -> Iterator[str | Tag]:
        """The tokens from the root on: a warning of PHP may stand before it."""
        for token in tokens:
            if isinstance(token, Tag) and not token.closing and token.local in _ROOTS:
                yield token
                yield from tokens

    def tag(self, tag: Tag) -> None:
        here = self.open[-1]
        if self.ignored:
            self.skip(tag)
        elif here.node.name in _TEXTS and not (tag.closing and tag.name == here.tag):
            self.tag_in_text(tag)
        elif tag.closing:
            self.end(tag.name)
        else:
            self.begin(tag)

    def tag_in_text(self, tag: Tag) -> None:
        here = self.open[-1]
        is_end_of_outer = tag.closing and any(each.tag == tag.name for each in self.open)
        name = self.name(tag, here.scope)
        # Nothing but a text stands in a title; a prefix that is not HTML's is a field's.
        is_field = name in _FIELDS or (":" in name and not name.startswith("xhtml:"))
        if is_end_of_outer and (not here.is_xml or name in ENTRIES):
            self.end(tag.name)
        elif is_field and not tag.closing and not here.is_xml:
            self.close()
            self.tag(tag)
        else:
            slash = "/" if tag.closing else ""
            here.node.is_markup = True
            self.put(f"<{slash}{tag.local}{tag.inside}>")

    def skip(self, tag: Tag) -> None:
        if not tag.closing:
            if not tag.empty and tag.local not in rawhtml.VOID:
                self.ignored.append(tag.name)
        elif tag.name in self.ignored:
            while self.ignored.pop() != tag.name:
                pass
        elif any(each.tag == tag.name for each in self.open):
            self.ignored.clear()
            self.end(tag.name)

    def begin(self, tag: Tag) -> None:
        attributes = tag.attributes
        scope = _scope(self.open[-1].scope, attributes)
        name = self.name(tag, scope)
        if name in ENTRIES:
            # Entries stand beside each other: one that is still open lost its end.
            while any(each.node.name in ENTRIES for each in self.open):
                self.close()
            self.entries += 1
            self.siblings.clear()
        self.siblings[name] += 1
        most = self.max_entries if name in ENTRIES else _MAX_SIBLINGS
        is_one_too_many = (self.entries if name in ENTRIES else self.siblings[name]) > most
        if is_one_too_many or len(self.open) > _MAX_DEPTH:
            if not tag.empty:
                self.ignored.append(tag.name)
            return
        self.add(tag, name, attributes, scope)

    def add(self, tag: Tag, name: str, attributes: dict[str, str], scope: dict[str, str]) -> None:
        outer = self.open[-1].node
        node = Node(
            name,
            {key: value[:LONGEST_FIELD] for key, value in attributes.items()},
            base=self.base(attributes.get("xml:base", ""), outer.base),
            language=attributes.get("xml:lang", outer.language),
        )
        outer.children.append(node)
        kind = node.get("type").lower()
        is_xml = "xhtml" in kind or kind.endswith("/xml") or node.get("mode") == "xml"
        is_text = name in _TEXTS
        node.is_markup = is_text and (is_xml or "html" in kind)
        room = LONGEST_TEXT if is_text and name != "title" else LONGEST_FIELD
        self.open.append(
            _Open(tag.name, node, scope, room, is_text and (is_xml or name == "xhtml:body"))
        )
        if tag.empty:
            self.close()

    def base(self, given: str, outer: str) -> str:
        return (rawhtml.absolute(given, outer or self.url) or outer) if given else outer

    def name(self, tag: Tag, scope: dict[str, str]) -> str:
        """The name of an element, with the prefix by which its namespace is known."""
        prefix = scope.get(tag.prefix, tag.prefix)
        return f"{prefix}:{tag.local}" if prefix else tag.local

    def end(self, name: str) -> None:
        if any(each.tag == name for each in self.open[1:]):
            while self.open[-1].tag != name:
                self.close()
            self.close()

    def close(self) -> None:
        done = self.open.pop()
        done.node.text = "".join(done.parts)

    def words(self, text: str) -> None:
        self.put(html.escape(text) if self.open[-1].is_xml else text)

    def put(self, text: str) -> None:
        here = self.open[-1]
        if here.room > 0:
            here.parts.append(text[: here.room])
            here.room -= len(text)


def _scope(outer: dict[str, str], attributes: dict[str, str]) -> dict[str, str]:
    """What prefixes mean inside an element: `outer`, and what the element itself declares."""
    declared = {}
    for name, value in attributes.items():
        usual = _PREFIXES.get(value.lower())
        if name == "xmlns":
            # Whatever a feed calls its own namespace, its elements are a feed's.
            declared[""] = "xhtml" if usual == "xhtml" else ""
        elif name.startswith("xmlns:"):
            declared[name[6:]] = name[6:] if usual is None else usual
    if not declared or len(outer) + len(declared) > _MAX_PREFIXES:
        return outer
    return {**outer, **declared}
