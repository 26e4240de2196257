"""The language of an article, as far as its own letters do not belie what was said of it.

Sites whose owners never looked say "en-US" of everything they publish. What is said to run from
the left and is written from the right, or the other way round, counts as not said. On which side
an article begins is told by its letters then.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

from newsletter.i18n import is_right_to_left, known

_SIDES = {"L": "ltr", "R": "rtl", "AL": "rtl"}  # UAX #9: strong characters


def told(language: str | None, words: str) -> str | None:
    """`language` (a BCP 47 tag) when it is one, and can be that of `words`; else None."""
    tag = known(language) or known(language[:3].split("-")[0]) if language else None
    if tag is None:
        return None
    side = _side(words)
    is_belied = side is not None and side != _side_of(tag)
    return None if is_belied else tag


def turned(words: str, around: str) -> str | None:
    """The direction of `words` of an unknown language, "rtl" or "ltr", among others in `around`.

    around: a BCP 47 tag. None where both run the same way, or where `words` run neither way.
    """
    side = _side(words)
    return None if side == _side_of(around) else side


def _side(words: str) -> str | None:
    """The way that most letters of `words` run; None when it is neither."""
    found = Counter(_SIDES.get(unicodedata.bidirectional(character)) for character in words)
    if found["rtl"] == found["ltr"]:
        return None
    return "rtl" if found["rtl"] > found["ltr"] else "ltr"


def _side_of(language: str) -> str:
    return "rtl" if is_right_to_left(language) else "ltr"
