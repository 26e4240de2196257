"""Plain text in lines of so many columns, whichever script it is written in.

A column is what one Latin letter takes: a Chinese character takes two, an accent that is written
over a letter takes none. Lines break at blanks, and in Chinese and Japanese, which have none,
between characters, but never before a full stop or behind an opening bracket. What has no blank
and is not of these, an address most of all, stays whole however long it is.
"""

from __future__ import annotations

import re
import unicodedata

_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_ASCII = re.compile(r"[ -~]*")
# Marks that join what stands beside them, or choose how it is drawn (UAX #51, UTS #37).
_JOINER = "\u200d"
_SELECTORS = "\ufe0e\ufe0f"
# Japanese and Chinese typesetting: what no line begins and what no line ends with (JLREQ §3.1.7).
_NOT_FIRST = frozenset(
    "、。，．・：；？！ー～…‥％」』）】〕］｝〉》”’ゝゞ々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ,.:;?!)]}%"
)
_NOT_LAST = frozenset("「『（【〔［｛〈《“‘￥＄([{$")


def width(text: str) -> int:
    """How many columns `text` takes in a font whose letters are equally wide."""
    if _ASCII.fullmatch(text):
        return len(text)
    return sum(_columns(character) for character in text)


def lines(text: str, room: int, indent: str = "") -> list[str]:
    """`text` in lines of at most `room` columns; every line but the first begins with `indent`.

    Blanks and line ends in `text` are all the same, and none stands at the end of a line.
    """
    made: list[str] = []
    line = ""
    taken = 0
    for word in filter(None, _BLANKS.split(text)):
        for place, piece in enumerate(_pieces(word)):
            gap = " " if line and not place else ""
            needed = len(gap) + width(piece)
            if line and taken + needed > room:
                made.append(line)
                line, taken, gap, needed = "", width(indent), "", width(piece)
            line += (indent if made and not line else "") + gap + piece
            taken += needed
    return [*made, line] if line else made


def _pieces(word: str) -> list[str]:
    """The parts of `word` between which a line may break."""
    if _ASCII.fullmatch(word):
        return [word]
    pieces = [""]
    before = ""
    for character in word:
        if pieces[-1] and _breaks(before, character):
            pieces.append("")
        pieces[-1] += character
        before = character
    return pieces


def _breaks(before: str, character: str) -> bool:
    if character in _NOT_FIRST or before in _NOT_LAST or not _columns(character):
        return False
    if before == _JOINER:
        return False
    return _is_ideographic(before) or _is_ideographic(character)


def _is_ideographic(character: str) -> bool:
    """Whether a line may break beside it: Chinese and Japanese characters; not Korean, whose
    words have blanks between them, and not emoji, which come in sequences.
    """
    code = ord(character)
    return (
        0x2E80 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0xFF00 <= code <= 0xFF60
        or (0x20000 <= code <= 0x3FFFF)
    )


def _columns(character: str) -> int:
    if character == _JOINER or character in _SELECTORS or unicodedata.combining(character):
        return 0
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
