"""The HTML part of a letter as a tree that knows the lines it came from.

What css-inline gives is well-formed, so the standard library's parser sees what a browser does.
What stands in a conditional comment is for Outlook alone, and kept apart.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser

from newsletter.digests.check.finding import Part, Place, excerpt

_VOID = frozenset(
    {
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta"),
        *("param", "source", "track", "wbr"),
    }
)
# Elements whose content nobody reads.
UNREAD = frozenset({"head", "script", "style", "template", "title"})
_ARTICLE = re.compile(r"article-\d+")
_IN_ARTICLE_TITLES = ("h1", "h2", "h3")
_HIDDEN = re.compile(r"(?:^|;)\s*display\s*:\s*none\b", re.IGNORECASE)


class Element:
    """An element. start, end: where its source begins and ends, in characters."""

    __slots__ = ("attributes", "children", "end", "name", "parent", "start")

    def __init__(
        self, name: str, attributes: dict[str, str], parent: Element | None, start: int
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.parent = parent
        self.children: list[Element | str] = []
        self.start = start
        self.end = start

    def walk(self) -> Iterator[Element]:
        """This element and all that it holds, as they stand in the source."""
        waiting: list[Element] = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(
                child for child in reversed(element.children) if isinstance(child, Element)
            )

    def texts(self) -> Iterator[tuple[Element, str]]:
        """Each piece of text that can be seen in it, and the element that it stands in."""
        waiting: list[tuple[Element, Element | str]] = [(self, self)]
        while waiting:
            holder, node = waiting.pop()
            if isinstance(node, str):
                yield holder, node
            elif node.name not in UNREAD and not node.is_hidden:
                waiting.extend((node, child) for child in reversed(node.children))

    @property
    def words(self) -> str:
        """What can be read in it, in one line."""
        return " ".join(" ".join(text for _, text in self.texts()).split())

    @property
    def is_hidden(self) -> bool:
        """Whether its own style hides it."""
        return bool(_HIDDEN.search(self.attributes.get("style", "")))

    def ancestors(self) -> Iterator[Element]:
        """The elements around it, the nearest first."""
        around = self.parent
        while around is not None:
            yield around
            around = around.parent

    def is_within(self, names: frozenset[str]) -> bool:
        """Whether it is one of these elements, or stands in one."""
        return self.name in names or any(each.name in names for each in self.ancestors())


class Document:
    """A whole HTML part. conditionals: what is for Outlook alone, with the lines of it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", source))]
        reader = _Reader(self._line_starts)
        reader.feed(source)
        reader.close()
        self.root = reader.finish(len(source))
        self.conditionals = reader.conditionals

    @cached_property
    def elements(self) -> list[Element]:
        """All of them, as they stand in the source; the first is a root around them."""
        return list(self.root.walk())

    def all(self, *names: str) -> Iterator[Element]:
        """The elements of these names, in their order."""
        return (element for element in self.elements if element.name in names)

    @cached_property
    def body(self) -> Element:
        """The body; the root where there is none."""
        return next(self.all("body"), self.root)

    @cached_property
    def words(self) -> str:
        """What can be read in the body, in one line."""
        return self.body.words

    @cached_property
    def style(self) -> str:
        """What stands in all style elements, but those for Outlook alone."""
        return "\n".join(
            child
            for element in self.all("style")
            for child in element.children
            if isinstance(child, str)
        )

    @cached_property
    def articles(self) -> list[tuple[Element, str]]:
        """What holds an article, and the article's title."""
        holders = [
            element
            for element in self.elements
            if _ARTICLE.fullmatch(element.attributes.get("id", ""))
        ]
        # Where a letter is one article, its heading is the article's title.
        letters = next((each.words for each in self.all("h1")), "") if len(holders) == 1 else ""
        return [(holder, _title(holder) or letters or _first(holder)) for holder in holders]

    def line(self, place: int) -> int:
        """The line of a place in the source."""
        return bisect_right(self._line_starts, place)

    def at(self, element: Element, shown: str | None = None) -> Place:
        """Where an element is. shown: what to show of it; None for its tag."""
        holders = {id(each): title for each, title in self.articles}
        around = (holders.get(id(each)) for each in (element, *element.ancestors()))
        tag = self.source[element.start : self.source.find(">", element.start) + 1]
        return Place(
            Part.HTML,
            self.line(element.start),
            excerpt(tag if shown is None else shown),
            excerpt(next(filter(None, around), "")),
        )


def _title(holder: Element) -> str:
    headings = _headings(holder)
    titles = (each for each in headings if "title" in each.attributes.get("class", "").split())
    return next((each.words for each in titles), "")


def _first(holder: Element) -> str:
    return next((each.words for each in _headings(holder)), "")


def _headings(holder: Element) -> Iterator[Element]:
    return (each for each in holder.walk() if each.name in _IN_ARTICLE_TITLES)


class _Reader(HTMLParser):
    def __init__(self, line_starts: list[int]) -> None:
        super().__init__(convert_charrefs=True)
        self._starts = line_starts
        self._root = Element("", {}, None, 0)
        self._open = [self._root]
        self.conditionals: list[tuple[int, str]] = []

    def _here(self) -> int:
        line, column = self.getpos()
        return self._starts[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, str] = {}
        for name, value in attrs:
            given.setdefault(name, value or "")
        element = Element(tag, given, self._open[-1], self._here())
        self._open[-1].children.append(element)
        if tag in _VOID:
            element.end = element.start + len(self.get_starttag_text() or "")
        else:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not any(element.name == tag for element in self._open):
            return
        here = self._here()
        while True:
            element = self._open.pop()
            element.end = here
            if element.name == tag:
                return

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        if data.startswith("[if"):
            self.conditionals.append((self.getpos()[0], data))

    def finish(self, end: int) -> Element:
        for element in self._open:
            element.end = end
        return self._root
