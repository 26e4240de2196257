"""Pictures in a letter: their sizes, which Outlook needs to be told and others are glad to know.

Outlook on Windows shows a picture as large as its attributes say or as it is, whatever its style:
one that is wider than the letter pushes all of it off the screen. Where sizes are missing, the
text jumps while pictures load.
"""

from __future__ import annotations

import html
import re

_IMAGE = re.compile(r"<img\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\s([a-zA-Z-]+)=(\"[^\"]*\"|'[^']*')")
_SIZES = ("width", "height")


def fitted(markup: str, room: int) -> str:
    """`markup` with the sizes of every picture brought down to a width of `room` pixels.

    Those that are small enough, or whose width nobody knows, stay as they are.
    """
    return _IMAGE.sub(lambda found: _fit(found, room), markup)


def shown_size(width: int | None, height: int | None, room: int) -> tuple[int, int | None]:
    """How large a picture of `width` by `height` is shown where there are `room` pixels.

    One whose size is not known fills the room. Returns width and height, which is None when it is
    not known.
    """
    shown = min(width or room, room)
    return shown, round(shown * height / width) if width and height else None


def _fit(found: re.Match[str], room: int) -> str:
    given = _attributes(found[1])
    width = _pixels(given.get("width"))
    if width is None or width <= room:
        return found[0]
    shown, height = shown_size(width, _pixels(given.get("height")), room)
    sizes = {"width": shown, "height": height}
    rest = _ATTRIBUTE.sub(
        lambda attribute: "" if attribute[1].lower() in _SIZES else attribute[0], found[1]
    )
    told = "".join(f' {name}="{size}"' for name, size in sizes.items() if size)
    return f"<img{rest}{told}>"


def _attributes(text: str) -> dict[str, str]:
    return {found[1].lower(): html.unescape(found[2][1:-1]) for found in _ATTRIBUTE.finditer(text)}


def _pixels(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) <= 5 and int(text) else None
