"""The text part: it is there, it says what the HTML part says, and it reads like a letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from newsletter.digests.check.built import Built
from newsletter.digests.check.document import UNREAD, Document, Element
from newsletter.digests.check.finding import Finding, Part, Place, error, excerpt, warning
from newsletter.digests.check.words import letters

_TEMPLATE = "See that digest/body.txt shows what digest/body.html does."
MISSING = error(
    "text-missing",
    "The mail has no text part: who reads text reads nothing, and filters take it for spam.",
    _TEMPLATE,
)
HTML_MISSING = error("html-missing", "The mail has no HTML part.", "Mend digest/body.html.")
OTHER = error("text-other", "The text part says something else than the HTML part.", _TEMPLATE)
LACKS = warning("text-lacks-words", "Words of the HTML part are not in the text part.", _TEMPLATE)
LINK = warning("text-lacks-link", "A link of the HTML part is not in the text part.", _TEMPLATE)
LONG = warning(
    "text-long-line", "A line of the text part is too long.", "Wrap it: {{ words|wrap }}"
)
MARKUP = warning(
    "text-markup", "HTML stands in the text part.", "Show the text of it: body_text, not body_html."
)
RULES = (MISSING, HTML_MISSING, OTHER, LACKS, LINK, LONG, MARKUP)

# RFC 3676 §4.1; quote marks before it included.
_LONGEST_LINE = 78
_BLOCKS = frozenset(
    """
    address article aside blockquote body br caption center dd div dl dt figcaption figure footer
    form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tbody td tfoot th thead tr
    ul
    """.split()  # noqa: SIM905 - read by people
)
# What is as long is a sentence, and no label of a button.
_SENTENCE = 40
# Of all letters: where so many are missing, it is another text.
_OTHER_SHARE = 0.3
_FEW = 200
_ADDRESS = re.compile(r"(?:https?://|mailto:)\S+")
_REFERENCE = re.compile(r"\[\*?\d+\]")
_MARKUP = re.compile(
    r"</?(?:a|br|div|em|font|h[1-6]|img|li|p|span|strong|table|td|tr|ul)\b[^<>]*>"
    r"|&(?:nbsp|amp|quot|lt|gt|#\d{2,5});",
    re.IGNORECASE,
)


@dataclass
class _Block:
    """Words between two borders of elements. linked: how many of the letters are in links."""

    element: Element
    words: list[str] = field(default_factory=list)
    linked: int = 0

    @property
    def letters(self) -> str:
        return _letters(" ".join(self.words))


def check(built: Built) -> Iterator[Finding]:
    """Both parts, and one against the other."""
    has_html = bool(_letters(built.document.words))
    if not built.text.strip():
        yield Finding(MISSING, Place(Part.TEXT))
    if not has_html:
        yield Finding(HTML_MISSING, Place(Part.HTML))
    if not built.text.strip() or not has_html:
        return
    yield from _compared(built)
    yield from _links(built)
    yield from _lines(built)


def _compared(built: Built) -> Iterator[Finding]:
    document, text = built.document, _letters(built.text)
    blocks = [(block, said) for block in _blocks(document) if (said := block.letters)]
    missing = [(block, said) for block, said in blocks if said not in text]
    lost = sum(len(said) for _, said in missing)
    whole = sum(len(said) for _, said in blocks)
    html = "".join(said for _, said in blocks)
    added = sum(len(each) for each in _paragraphs(built.text) if each not in html)
    for count, total, where in (
        (lost, whole, f"of the HTML part's letters {_percent(lost, whole)} are not in it"),
        (added, len(text), f"of its letters {_percent(added, len(text))} are not in the HTML part"),
    ):
        if count > max(_FEW, total * _OTHER_SHARE):
            yield Finding(OTHER, Place(Part.TEXT), f"{where[0].upper()}{where[1:]}.")
            return
    for block, said in missing:
        if len(said) >= _SENTENCE and block.linked < len(said):
            yield Finding(LACKS, document.at(block.element, " ".join(block.words)))


def _blocks(document: Document) -> Iterator[_Block]:
    block = _Block(document.body)
    for node in _borders(document.body):
        if isinstance(node, Element):
            yield block
            block = _Block(node)
        else:
            holder, text = node
            block.words.append(text)
            if holder.is_within(frozenset({"a"})):
                block.linked += len(_letters(text))
    yield block


def _borders(body: Element) -> Iterator[Element | tuple[Element, str]]:
    """Texts with what they stand in, and between them the elements that begin or end a block."""
    waiting: list[tuple[Element, Element | str]] = [(body, body)]
    while waiting:
        holder, node = waiting.pop()
        if isinstance(node, str):
            yield holder, node
        elif node.name == "":
            yield node.parent or node
        elif node.name not in UNREAD and not node.is_hidden:
            if node.name in _BLOCKS:
                yield node
                # Its end, as an element without a name.
                waiting.append((node, Element("", {}, node, node.end)))
            waiting.extend((node, child) for child in reversed(node.children))


def _paragraphs(text: str) -> Iterator[str]:
    for part in re.split(r"\n\s*\n", text):
        said = _letters(re.sub(r"^[> ]+", "", part, flags=re.MULTILINE))
        if len(said) >= _SENTENCE:
            yield said


def _letters(text: str) -> str:
    """Letters and digits alone, in lower case, without addresses and the numbers of links."""
    plain = _REFERENCE.sub("", _ADDRESS.sub("", text))
    return letters(plain)


def _links(built: Built) -> Iterator[Finding]:
    document, seen = built.document, set[str]()
    for link in document.all("a"):
        address = link.attributes.get("href", "").strip()
        shown = address.removeprefix("mailto:")
        if not _ADDRESS.match(address) or address in seen:
            continue
        seen.add(address)
        if shown not in built.text:
            yield Finding(LINK, document.at(link, address))


def _lines(built: Built) -> Iterator[Finding]:
    shown = built.document.words
    for number, line in enumerate(built.text.split("\n"), 1):
        place = Place(Part.TEXT, number, excerpt(line))
        words = line.lstrip("> ")
        is_code = line.startswith("    ")
        if len(line) > _LONGEST_LINE and " " in words.strip() and not is_code:
            longest = max(words.split(), key=len)
            # An address stays whole, with the mark or the number before it.
            if len(words) - len(longest) > _LONGEST_LINE // 2:
                yield Finding(LONG, place, f"It has {len(line)} characters.")
        found = _MARKUP.search(line)
        if found and found[0] not in shown:
            yield Finding(MARKUP, place)


def _percent(some: int, whole: int) -> str:
    return f"{round(100 * some / max(1, whole))} %"
