"""Which of the pictures that an entry comes with stands for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from newsletter.digests import rawhtml
from newsletter.digests.reading import pixels

# Narrower, it is a thumbnail or an emblem: taken only when there is nothing better.
_LARGE = 300


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that somebody offers. width, height: in CSS pixels; None when nobody says."""

    url: str
    width: int | None = None
    height: int | None = None
    alt: str = ""
    credit: str = ""


def best(offered: Iterable[Picture], body: str, base: str) -> Picture | None:
    """The picture that stands for an article; None when there is none.

    offered: as found, addresses relative to `base`, the likeliest first. body: the article's
    cleaned HTML, whose first picture comes after those and before a thumbnail.
    """
    inside = _in_body(body)
    known = {picture.url: picture for picture in reversed(inside)}
    found = []
    for picture in offered:
        address = rawhtml.absolute(picture.url, base, mail=False)
        if picture.url and address:
            twin = known.get(address, Picture(url=address))
            found.append(
                replace(
                    picture,
                    url=address,
                    width=picture.width or twin.width,
                    height=picture.height or twin.height,
                    alt=picture.alt or twin.alt,
                )
            )
    found += inside[:1]
    return next((picture for picture in found if (picture.width or _LARGE) >= _LARGE), None) or (
        found[0] if found else None
    )


def _in_body(body: str) -> list[Picture]:
    return [
        Picture(
            url=attributes["src"],
            width=pixels(attributes.get("width", "")),
            height=pixels(attributes.get("height", "")),
            alt=attributes.get("alt", ""),
        )
        for kind, name, attributes in rawhtml.split(body)
        if kind == "open" and name == "img" and "src" in attributes
    ]
