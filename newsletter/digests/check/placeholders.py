"""What was to be filled in and was not: "Dear {{ name }}"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.digests.check import quoted
from newsletter.digests.check.built import Built, Facts
from newsletter.digests.check.document import Document
from newsletter.digests.check.finding import Finding, Part, Place, error, excerpt, warning

UNFILLED = error(
    "placeholder",
    "A place that should have been filled in was not.",
    "Mend the template or the article; if it is meant to be read so, put it into `code`.",
)
DUMMY = warning(
    "placeholder-words",
    "Words stand there that are usually written over.",
    "Write what is meant.",
)
FOREIGN = warning(
    "placeholder-foreign",
    "A place that looks as if it should be filled in came so from a feed or a page.",
    "Look whether the site means it to be read.",
)
RULES = (UNFILLED, FOREIGN, DUMMY)

_DUMMY = re.compile(
    r"\blorem ipsum\b|\bT[O]DO\b|\bF[I]XME\b|\bTBD\b|\bX[X]X\b"
    r"|\[(?:your|insert|first|last|company)\b[^\]]{0,60}\]|\bundefined undefined\b",
    re.IGNORECASE,
)
_READ = ("href", "src", "alt", "title")


def check(built: Built, facts: Facts) -> Iterator[Finding]:
    """Subject, both parts, and the attributes that readers see or follow."""
    meant = set(facts.quoted.code)
    for rule, pattern in ((UNFILLED, quoted.UNFILLED), (DUMMY, _DUMMY)):
        for place, found in _found(built, pattern, meant):
            if rule is UNFILLED and quoted.plain(found) in facts.quoted.foreign:
                yield Finding(FOREIGN, place)
            else:
                yield Finding(rule, place)


def _found(built: Built, pattern: re.Pattern[str], meant: set[str]) -> Iterator[tuple[Place, str]]:
    for found in pattern.finditer(built.subject):
        yield Place(Part.SUBJECT, None, excerpt(found[0])), found[0]
    yield from _in_html(built.document, pattern, meant)
    for number, line in enumerate(built.text.split("\n"), 1):
        for found in pattern.finditer(line):
            if quoted.plain(found[0]) not in meant:
                yield Place(Part.TEXT, number, excerpt(found[0])), found[0]


def _in_html(
    document: Document, pattern: re.Pattern[str], meant: set[str]
) -> Iterator[tuple[Place, str]]:
    """meant: what stands in `code` in the articles; what does in the letter is written down too."""
    quotes = frozenset(meant)
    for element, text in document.body.texts():
        for found in pattern.finditer(text):
            place = document.at(element, found[0])
            if element.is_within(quoted.CODE):
                meant.add(quoted.plain(found[0]))
            # A summary that is made has no code marks.
            elif quoted.plain(found[0]) not in quotes:
                yield place, found[0]
    for element in document.elements:
        for name in _READ:
            for found in pattern.finditer(element.attributes.get(name, "")):
                yield document.at(element, found[0]), found[0]
