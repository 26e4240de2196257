"""The subject and the line beside it: long enough to say something, and without tricks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from newsletter.digests.answer import is_sign
from newsletter.digests.check.built import Built
from newsletter.digests.check.document import Document
from newsletter.digests.check.finding import Finding, Part, Place, error, excerpt, warning
from newsletter.digests.check.words import letters

# What mail programs on a desktop show of it; a phone shows half.
LONGEST = 70
_SHORTEST = 4

_SAY = "Say in a few plain words what is in the digest."
EMPTY = error("subject-empty", "The mail has no subject.", _SAY)
REPLY = error(
    "subject-fake-reply",
    "The subject looks like that of an answer or a forwarded mail, and it is neither.",
    "Take the sign away; mailbox providers block mail for it.",
)
LONG = warning(
    "subject-long",
    f"The subject is longer than {LONGEST} columns, and is cut where it is listed.",
    "Put first what matters, and shorten the rest.",
)
SHORT = warning("subject-short", "The subject says hardly anything.", _SAY)
CAPITALS = warning(
    "subject-capitals", "The subject is written in capitals.", "Write it as a sentence."
)
SIGNS = warning(
    "subject-signs", "The subject shouts with its signs.", "One sign at the end is enough."
)
UNSEEN = warning(
    "subject-unseen", "The subject holds characters that cannot be seen.", "Write it anew."
)
NO_PREHEADER = warning(
    "preheader-missing",
    "The letter has no preheader: beside the subject, mail programs show whatever comes first.",
    "Write an introduction, or a preheader.",
)
PREHEADER = warning(
    "preheader-repeats", "The preheader repeats the subject.", "Say something that goes on from it."
)
RULES = (EMPTY, REPLY, LONG, SHORT, CAPITALS, SIGNS, UNSEEN, NO_PREHEADER, PREHEADER)

_SIGNS = re.compile(r"[!?]{2,}|[$€£¥]{2,}|!.*!|(?:\.\s?){4,}|[*#=~_-]{4,}")
_JOINERS = "\u200c\u200d"
_FEWEST_CAPITALS = 8


def check(built: Built) -> Iterator[Finding]:
    """The subject by itself, and what stands beside it in a list of mails."""
    subject = built.subject.strip()
    place = Place(Part.SUBJECT, None, excerpt(subject))
    if not subject:
        yield Finding(EMPTY, place)
        return
    if is_sign(subject):
        yield Finding(REPLY, place)
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in subject)
    if columns > LONGEST:
        yield Finding(LONG, place, f"It has {columns}.")
    if sum(c.isalnum() for c in subject) < _SHORTEST and columns < _SHORTEST:
        yield Finding(SHORT, place)
    cased = [c for c in subject if c.isupper() or c.islower()]
    if len(cased) >= _FEWEST_CAPITALS and all(c.isupper() for c in cased):
        yield Finding(CAPITALS, place)
    if _SIGNS.search(subject):
        yield Finding(SIGNS, place)
    if any(unicodedata.category(c) == "Cf" and c not in _JOINERS for c in subject):
        yield Finding(UNSEEN, place)
    yield from _preheader(built.document, subject)


def _preheader(document: Document, subject: str) -> Iterator[Finding]:
    """The first hidden words of the body."""
    hidden = next((e for e in document.body.walk() if e.is_hidden), None)
    words = _plain(hidden.children) if hidden is not None else ""
    if hidden is None or not any(c.isalnum() for c in words):
        yield Finding(NO_PREHEADER, Place(Part.HTML, document.line(document.body.start)))
    elif letters(words) == letters(subject):
        yield Finding(PREHEADER, document.at(hidden, words))


def _plain(children: Sequence[object]) -> str:
    return " ".join(" ".join(c for c in children if isinstance(c, str)).split())
