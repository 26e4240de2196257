"""Pictures and links without words, in cleaned HTML: for readers who do not see them.

A picture that nobody described is read out as the name of its file, so it counts as an ornament. A
link around nothing but such pictures, as sites put it around an enlargement, is read out as its
address, so the pictures stay and the link goes.
"""

from __future__ import annotations

import re

_ATTRIBUTES = r"(?:[^<>\"']|\"[^\"]*\"|'[^']*')*"
_PICTURE = re.compile(rf"<img\b({_ATTRIBUTES})>")
_ALT = re.compile(r"\salt=(\"[^\"]*\"|'[^']*')")
# A link in which stand only pictures, and what holds them.
_LINK = re.compile(
    rf"<a\b{_ATTRIBUTES}>"
    rf"((?:\s|&nbsp;|\xa0|<br>|<img\b{_ATTRIBUTES}>|</?(?:b|div|em|figure|i|p|span|strong)>)*)"
    r"</a>"
)


def made_ornaments(cleaned: str) -> str:
    """`cleaned` with an empty alt for each picture without one, and no link that has no words."""
    if "<img" in cleaned:
        cleaned = _PICTURE.sub(_with_alt, cleaned)
    return _LINK.sub(_unless_told, cleaned) if "<a" in cleaned else cleaned


def _with_alt(found: re.Match[str]) -> str:
    return found[0] if _ALT.search(found[1]) else f'<img{found[1]} alt="">'


def _unless_told(link: re.Match[str]) -> str:
    alts = (_ALT.search(each[1]) for each in _PICTURE.finditer(link[1]))
    is_told = any(alt is not None and alt[1][1:-1].strip() for alt in alts)
    return link[0] if is_told else link[1]
