"""Pictures: addresses that a mail program loads, and sizes that keep the letter from jumping."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.digests.check.built import Built
from newsletter.digests.check.finding import Finding, Part, Place, error, warning

ADDRESS = error(
    "picture-address",
    "A picture has no absolute address of the web: nobody sees it.",
    "Put it on the web, and name its whole address, from https:// on.",
)
PLAIN = warning(
    "picture-not-https",
    "A picture is loaded without TLS: some programs do not show it, and others on the way see it.",
    "Use its https:// address.",
)
SIZE = warning(
    "picture-size",
    "A picture does not say its size: text jumps while it loads, and Outlook may show it too "
    "large.",
    "Give width and height; for an article's own picture, image_width and image_height.",
)
ONLY = warning(
    "pictures-only",
    "There is hardly a word in the letter beside its pictures: it is taken for spam, and says "
    "nothing where pictures are blocked.",
    "Write what it is about.",
)
RULES = (ADDRESS, PLAIN, SIZE, ONLY)

_FEWEST_LETTERS = 200


def check(built: Built) -> Iterator[Finding]:
    """Every picture of the HTML part."""
    document = built.document
    pictures = list(document.all("img"))
    for picture in pictures:
        address = picture.attributes.get("src", "").strip().lower()
        if not address.startswith(("https://", "http://")):
            # A data: address is a feature that clients lack, and told as that.
            if not address.startswith("data:"):
                yield Finding(ADDRESS, document.at(picture))
        elif address.startswith("http://"):
            yield Finding(PLAIN, document.at(picture))
        lacking = [s for s in ("width", "height") if not _is_size(picture.attributes.get(s, ""))]
        if lacking:
            yield Finding(SIZE, document.at(picture), f"It has no {' and no '.join(lacking)}.")
    letters = sum(c.isalnum() for c in document.words)
    if pictures and letters < _FEWEST_LETTERS:
        yield Finding(ONLY, Place(Part.HTML), f"It has {letters} letters.")


def _is_size(text: str) -> bool:
    return text.strip().removesuffix("px").isdecimal() or text.strip().endswith("%")
