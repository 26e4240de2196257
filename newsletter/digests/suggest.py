"""A subject and a preheader, for whoever does not want to think of any.

The subject says what is in the letter: the first title, a second one when there is room, and how
many more there are. The preheader, which mail programs show beside it, says what the subject does
not. Neither shouts, nor pretends to be an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from babel.dates import format_date

from newsletter.digests import summary
from newsletter.digests.answer import without_sign
from newsletter.i18n import choose, locale_of, translations

# Columns of a subject, such as a desktop shows; a second title is only named when there is room.
ROOM = 60
LONGEST = 70
PREHEADER = 140
_SIGNS = re.compile(r"([!?])[!?]+")
_SHOUTED = 8  # letters, from which on capitals are no abbreviation


def subject(titles: Sequence[str], *, language: str) -> str:
    """A subject for a letter with these titles, in their order; "" when there is none."""
    calm = list(filter(None, map(_calm, titles)))
    if len(calm) < 2:
        return calm[0] if calm else ""
    if not choose([language], ""):
        # Words of another language than theirs would stand between the titles.
        return _in_one_line(calm)
    words = translations(language)
    more = len(calm) - 2
    values = {"first": calm[0], "second": calm[1], "count": more}
    if more:
        full = words.ngettext(
            "%(first)s, %(second)s and %(count)s more",
            "%(first)s, %(second)s and %(count)s more",
            more,
        )
    else:
        full = words.gettext("%(first)s and %(second)s")
    if len(full % values) <= ROOM:
        return full % values
    short = words.ngettext("%(first)s and %(count)s more", "%(first)s and %(count)s more", more + 1)
    rest = len(short % {"first": "", "count": more + 1})
    first = summary.cut(calm[0], limit=LONGEST - rest)
    return short % {"first": first, "count": more + 1}


def _in_one_line(titles: Sequence[str]) -> str:
    both = f"{titles[0]} · {titles[1]}"
    return both if len(both) <= ROOM else titles[0]


def subjects(titles: Sequence[str], *, publication: str, on: date, language: str) -> list[str]:
    """Some subjects to choose from, the best first; the last names the publication and the day.

    publication: its title. on: the day that the letter is of.
    """
    dated = f"{publication}, {format_date(on, 'long', locale=locale_of(language))}"
    room = max(LONGEST - len(publication) - 2, ROOM // 2)
    firsts = filter(None, map(_calm, titles[:1]))
    named = [f"{publication}: {summary.cut(first, limit=room)}" for first in firsts]
    found = [subject(titles, language=language), *named, dated]
    return [each for each in dict.fromkeys(found) if each]


def preheader(subject: str, titles: Sequence[str], *, intro: str, opening: str) -> str:
    """The line beside `subject`, of at most 140 characters.

    intro: how the introduction begins, if there is one: its author knows best. opening: how the
    first article begins. Titles that the subject does not have come before that.
    """
    if intro:
        return summary.cut(intro, limit=PREHEADER)
    others = [title for title in titles if not _is_in(title, subject)]
    if len(titles) > 1 and others:
        return _joined(others)
    return summary.cut(opening, limit=PREHEADER)


def _joined(titles: Sequence[str]) -> str:
    line = summary.cut(titles[0], limit=PREHEADER)
    for title in titles[1:]:
        longer = f"{line} · {title}"
        if len(longer) > PREHEADER:
            break
        line = longer
    return line


def _is_in(title: str, subject: str) -> bool:
    """Whether the subject has it, or how it begins when it was cut."""
    return _calm(title).rstrip("…").casefold() in subject.casefold()


def _calm(title: str) -> str:
    """`title` as a subject may say it: no "Re:" in front, not in capitals, not too long."""
    words = _SIGNS.sub(r"\1", " ".join(title.split()))
    words = without_sign(words)
    if words.isupper() and sum(c.isalpha() for c in words) >= _SHOUTED:
        words = words.capitalize()
    return summary.cut(words, limit=LONGEST)
