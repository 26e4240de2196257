"""What an operator wrote into a field of one line: a subject, a heading."""

from __future__ import annotations

import unicodedata

from newsletter.errors import BadInput

# Joiners are part of words and of emoji, marks of direction part of Arabic and Hebrew.
_PART_OF_WORDS = "\u200c\u200d\u200e\u200f"


def one_line(text: str, *, name: str, field: str, most: int) -> str | None:
    """`text` as one line without control characters; None when nothing is left.

    name: as the message names it, such as "The subject". field: the option. most: characters.

    Raises BadInput when it is longer.
    """
    line = " ".join("".join(map(_shown, text)).split())
    if len(line) > most:
        raise BadInput(f"{name} is longer than {most} characters.", field)
    return line or None


def _shown(character: str) -> str:
    if character.isprintable() or character in _PART_OF_WORDS:
        return character
    # What is unseen and no blank would turn or hide the rest.
    return "" if unicodedata.category(character) == "Cf" else " "
