"""Who writes, how one leaves, and where one can write to: what readers and the law ask for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from newsletter.digests.check.built import Built, Facts
from newsletter.digests.check.finding import Finding, Part, Place, error, excerpt, warning

ADDRESS = error(
    "postal-address",
    "The publication's postal address is missing: the law of most countries asks for it.",
    "Show {{ publication.postal_address }} in the footer.",
)
LEAVE = error(
    "unsubscribe-link",
    "There is no link to unsubscribe.",
    "Show {{ links.unsubscribe_url }} in the footer.",
)
NAME = error(
    "name-missing",
    "The publication's name is nowhere: readers do not know whose letter it is.",
    "Show {{ publication.title }} at the top.",
)
SPELLING = warning(
    "name-spelling",
    "The publication's name is spelled otherwise than it is.",
    "Write it as the publication does, or rename the publication.",
)
RULES = (ADDRESS, LEAVE, NAME, SPELLING)

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# A shorter name is too like other words.
_SHORTEST_NAME = 6
_ALIKE = 0.86


def check(built: Built, facts: Facts) -> Iterator[Finding]:
    """In both parts: postal address, unsubscribe link, name; and how the name is written."""
    html, text = built.document.body.words, built.text
    alts = " ".join(each.attributes.get("alt", "") for each in built.document.all("img"))
    address = _letters(facts.postal_address)
    for part, words in ((Part.HTML, html), (Part.TEXT, text)):
        if not address or address not in _letters(words):
            yield Finding(ADDRESS, Place(part))
        if _letters(facts.title) not in _letters(f"{words} {alts}"):
            yield Finding(NAME, Place(part), f"It is “{facts.title}”.")
    wanted = built.unsubscribe_url
    hrefs = {each.attributes.get("href") for each in built.document.all("a")}
    if not wanted or wanted not in hrefs:
        yield Finding(LEAVE, Place(Part.HTML))
    if not wanted or wanted not in text:
        yield Finding(LEAVE, Place(Part.TEXT))
    yield from _spelling(built, facts)


def _spelling(built: Built, facts: Facts) -> Iterator[Finding]:
    if len(_letters(facts.title)) < _SHORTEST_NAME:
        return
    seen: set[str] = set()
    places = [(Place(Part.SUBJECT, None, excerpt(built.subject)), built.subject)]
    places += [
        (Place(Part.TEXT, number, excerpt(line)), line)
        for number, line in enumerate(built.text.split("\n"), 1)
        if "://" not in line and "@" not in line
    ]
    for place, line in places:
        for written in misspelt(line, facts.title):
            if written not in seen:
                seen.add(written)
                yield Finding(SPELLING, place, f"“{written}” should be “{facts.title}”.")


def misspelt(line: str, title: str) -> Iterator[str]:
    """Words of `line` that are meant to be `title`, and are written otherwise.

    Meant is what begins with a capital as the name does, and is the same but for case, blanks and
    hyphens, or nearly the same. All in capitals is a way to set a name, not another spelling.
    """
    words = list(_WORD.finditer(line))
    count = len(_WORD.findall(title))
    wanted = _letters(title)
    for begin in range(len(words)):
        for length in range(max(1, count - 1), count + 2):
            if begin + length > len(words):
                break
            written = line[words[begin].start() : words[begin + length - 1].end()]
            if _is_otherwise(written, title, wanted, is_whole=length == count):
                yield written


def _is_otherwise(written: str, title: str, wanted: str, *, is_whole: bool) -> bool:
    if written in title or title in written or written.isupper():
        return False
    if title[:1].isupper() and not written[:1].isupper():
        return False
    letters = _letters(written)
    if letters == wanted:
        return " ".join(written.split()) != title
    is_near = abs(len(letters) - len(wanted)) <= 2 and is_whole
    return is_near and difflib.SequenceMatcher(None, letters, wanted).ratio() >= _ALIKE


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
