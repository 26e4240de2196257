"""Who speaks in a letter: its publication, articles in other languages, and we, who have not all.

Each tells screen readers whose voice to take (WCAG 3.1.2) and mail programs on which side its
lines begin. Nothing is said where it is the letter's own language, which is nearly everywhere.
"""

from __future__ import annotations

from markupsafe import Markup

from newsletter.i18n import choose, is_right_to_left, is_same
from newsletter.mail.look import is_slanting


class Voices:
    """The voices of a letter in `language` (a BCP 47 tag), as attributes of its elements."""

    def __init__(self, language: str) -> None:
        self._language = language
        # That of our words; English when there is no catalog of the letter's.
        self._ours = choose([language])
        self._has_ours = bool(choose([language], ""))

    def spoken(self, tag: str | None, side: str | None = None) -> Markup:
        """The attributes of an element that speaks `tag`; none for the letter's own, or None.

        side: "rtl" or "ltr" of one whose language nobody knows, which runs the other way.
        """
        if not tag or is_same(tag, self._language):
            return turned(self._language, side)
        return attributes(tag)

    def ours(self, tag: str | None = None, side: str | None = None) -> Markup:
        """Those of an element with words of ours within one that speaks `tag`, or runs `side`."""
        is_turned = not tag and side is not None and side != direction(self._ours)
        if self._has_ours and not is_turned and (not tag or choose([tag], "") == self._ours):
            return Markup()
        return attributes(self._ours)

    def side_of(self, tag: str | None, side: str | None = None) -> str:
        """The direction of an element that speaks `tag`, or for None the letter's language."""
        return direction(tag) if tag else side or direction(self._language)

    def upright(self, tag: str | None, side: str | None = None) -> str:
        """A class for what speaks `tag`, when its script has no italic and the letter's has one.

        side: as for `spoken`; no script that is written from the right has one.
        """
        has_none = not is_slanting(tag) if tag else side == "rtl"
        return " upright" if has_none and is_slanting(self._language) else ""


def attributes(tag: str) -> Markup:
    """`lang` and `dir` of an element that speaks `tag`."""
    return Markup(' lang="{}" dir="{}"').format(tag.replace("_", "-"), direction(tag))


def turned(around: str, side: str | None) -> Markup:
    """`dir` of an element that runs `side`, where what is around it, in `around`, does not."""
    if side is None or side == direction(around):
        return Markup()
    return Markup(' dir="{}"').format(side)


def direction(tag: str) -> str:
    """ "rtl" or "ltr", in which text in the language `tag` runs."""
    return "rtl" if is_right_to_left(tag) else "ltr"
