"""Who writes, how one leaves, and where one can write to: what readers and the law ask for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from newsletter.digests.check.built import Built, Facts
from newsletter.digests.check.finding import Finding, Part, Place, error, excerpt, warning
from newsletter.digests.check.words import letters

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
# How alike another spelling is, in all and each of its words.
_ALIKE = 0.86
_ALIKE_WORD = 0.7
_MOST_OFF = 2  # letters


def check(built: Built, facts: Facts) -> Iterator[Finding]:
    """In both parts: postal address, unsubscribe link, name; and how the name is written."""
    html, text = built.document.words, built.text
    alts = " ".join(each.attributes.get("alt", "") for each in built.document.all("img"))
    address = letters(facts.postal_address)
    for part, words in ((Part.HTML, html), (Part.TEXT, text)):
        if not address or address not in letters(words):
            yield Finding(ADDRESS, Place(part))
        if letters(facts.title) not in letters(f"{words} {alts}"):
            yield Finding(NAME, Place(part), f"It is “{facts.title}”.")
    wanted = built.unsubscribe_url
    hrefs = {each.attributes.get("href") for each in built.document.all("a")}
    if not wanted or wanted not in hrefs:
        yield Finding(LEAVE, Place(Part.HTML))
    if not wanted or wanted not in text:
        yield Finding(LEAVE, Place(Part.TEXT))
    yield from _spelling(built, facts)


def _spelling(built: Built, facts: Facts) -> Iterator[Finding]:
    if len(letters(facts.title)) < _SHORTEST_NAME:
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
    hyphens, or nearly the same word by word. All in capitals is a way to set a name, not another
    spelling.
    """
    found = list(_WORD.finditer(line))
    names = _WORD.findall(title)
    for begin in range(len(found)):
        for end in range(begin + max(1, len(names) - 1), begin + len(names) + 2):
            # Who misspells a name begins it well.
            if end > len(found) or line[found[begin].start()] != title[0]:
                break
            written = line[found[begin].start() : found[end - 1].end()]
            if _is_otherwise(written, title, names):
                yield written


def _is_otherwise(written: str, title: str, names: list[str]) -> bool:
    if written in title or title in written or written.isupper():
        return False
    plain, wanted = letters(written), letters(title)
    if plain == wanted:
        return " ".join(written.split()) != title
    words = _WORD.findall(written)
    if len(words) != len(names) or _likeness(plain, wanted) < _ALIKE:
        return False
    pairs = zip(words, names, strict=True)
    return all(_likeness(word.casefold(), name.casefold()) >= _ALIKE_WORD for word, name in pairs)


def _likeness(one: str, other: str) -> float:
    """How alike two words are, 0 to 1."""
    if abs(len(one) - len(other)) > _MOST_OFF:
        return 0
    return difflib.SequenceMatcher(None, one, other).ratio()
