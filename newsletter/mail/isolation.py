"""A line of several parts, such as an author and a date: each in its own order (UAX #9).

Without it a name in Latin letters takes the number of an Arabic date to its side, and the line is
painted in an order that nobody wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup

_DOT = Markup(" · ")
_TO_LEFT = "\u200f"  # RIGHT-TO-LEFT MARK
_MARKED_DOT = Markup("\u200f · \u200f")
_PART = Markup('<span dir="auto">{}</span>')
_BEGIN, _END = "\u2068", "\u2069"  # FIRST STRONG ISOLATE and its end
# The blocks of scripts that are written from the right, and the mark itself (UAX #9, table 4).
_FROM_RIGHT = re.compile(
    "[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)


def in_html(parts: Iterable[str], side: str) -> Markup:
    """`parts` with dots between them. side: "rtl" or "ltr", of the line.

    The marks around a dot are for mail programs that isolate nothing. A line that runs from the
    left, with nothing in it that does not, needs neither.
    """
    found = [part for part in parts if part]
    if side == "ltr" and not any(map(_FROM_RIGHT.search, found)):
        return _DOT.join(found)
    dot = _MARKED_DOT if side == "rtl" else _DOT
    return dot.join(_PART.format(part) for part in found)


def in_text(parts: Iterable[str], side: str) -> str:
    """The same in plain text, which has characters for it; where a line runs from the right only,
    since some programs show them.
    """
    found = [part for part in parts if part]
    if side == "ltr" or not found:
        return str(_DOT).join(found)
    # Of what is isolated no program takes the line's direction: the mark before it says it.
    return _TO_LEFT + str(_DOT).join(f"{_BEGIN}{part}{_END}" for part in found)
