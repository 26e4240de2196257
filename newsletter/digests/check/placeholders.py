"""What was to be filled in and was not: "Dear {{ name }}"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.digests.check.built import Built
from newsletter.digests.check.document import Document
from newsletter.digests.check.finding import Finding, Part, Place, Rule, error, excerpt, warning

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
RULES = (UNFILLED, DUMMY)

_UNFILLED = re.compile(
    r"\{\{.{0,200}?\}\}|\{%.{0,200}?%\}|<%.{0,200}?%>"  # Jinja, Liquid, Handlebars; ERB
    r"|\*\|[A-Z0-9_:]{1,60}\|\*"  # Mailchimp
    r"|%%[A-Za-z_]{1,60}%%|%recipient\.\w{1,60}%|\$\{[A-Za-z_.]{1,60}\}"
    r"|%\([a-z_]{1,60}\)[sd]"  # gettext
    r"|\bslot[0-9a-f]{32}\b"  # our own
)
_DUMMY = re.compile(
    r"\blorem ipsum\b|\bT[O]DO\b|\bF[I]XME\b|\bTBD\b|\bX[X]X\b"
    r"|\[(?:your|insert|first|last|company)\b[^\]]{0,60}\]|\bundefined undefined\b",
    re.IGNORECASE,
)
_CODE = frozenset({"code", "kbd", "pre", "samp"})
_READ = ("href", "src", "alt", "title")


def check(built: Built) -> Iterator[Finding]:
    """Subject, both parts, and the attributes that readers see or follow."""
    meant: set[str] = set()
    for rule, pattern in ((UNFILLED, _UNFILLED), (DUMMY, _DUMMY)):
        for found in pattern.finditer(built.subject):
            yield Finding(rule, Place(Part.SUBJECT, None, excerpt(found[0])))
        yield from _in_html(built.document, rule, pattern, meant)
        for number, line in enumerate(built.text.split("\n"), 1):
            for found in pattern.finditer(line):
                if found[0] not in meant:
                    yield Finding(rule, Place(Part.TEXT, number, excerpt(found[0])))


def _in_html(
    document: Document, rule: Rule, pattern: re.Pattern[str], meant: set[str]
) -> Iterator[Finding]:
    """meant: where is written down what stands in `code`."""
    for element, text in document.body.texts():
        said = [found[0] for found in pattern.finditer(text)]
        if said and element.is_within(_CODE):
            meant.update(said)
            continue
        for each in said:
            yield Finding(rule, document.at(element, each))
    for element in document.elements:
        for name in _READ:
            for found in pattern.finditer(element.attributes.get(name, "")):
                yield Finding(rule, document.at(element, found[0]))
