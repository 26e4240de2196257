"""The language of an article, as far as its own letters do not belie what was said of it.

Sites whose owners never looked say "en-US" of everything they publish. What is said to run from
the left and is written from the right, or the other way round, counts as not said.
"""

from __future__ import annotations

import unicodedata

from newsletter.i18n import is_right_to_left, known

_SIDES = {"L": False, "R": True, "AL": True}  # UAX #9: strong characters


def told(language: str | None, words: str) -> str | None:
    """`language` (a BCP 47 tag) when it is one, and can be that of `words`; else None."""
    tag = known(language) or known(language[:3].split("-")[0]) if language else None
    if tag is None:
        return None
    sides = [
        side
        for character in words
        if (side := _SIDES.get(unicodedata.bidirectional(character))) is not None
    ]
    from_right = sum(sides)
    is_belied = (
        from_right * 2 < len(sides) if is_right_to_left(tag) else from_right * 2 > len(sides)
    )
    return None if is_belied else tag
