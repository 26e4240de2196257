"""What a public page says of itself to programs: Open Graph for whoever shares its link, and
JSON-LD in schema.org's words for search engines. Addresses are absolute, made of base_url.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from babel.core import get_global

from newsletter.digests import summary
from newsletter.digests.content import Content, Piece
from newsletter.i18n import locale_of
from newsletter.store import Publication
from newsletter.store.archive import Published
from newsletter.web import theme

_DESCRIPTION = 200  # characters; what is longer is cut off by those who show it
_VOCABULARY = "https://schema.org"

Thing = dict[str, Any]


@dataclass(frozen=True)
class Image:
    """A picture. width, height: in CSS pixels, or None."""

    url: str
    alt: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """A page in a few words. kind: "website" or "article". thing: JSON-LD, or None."""

    url: str
    title: str
    site: str
    language: str
    kind: str = "website"
    description: str = ""
    image: Image | None = None
    published_at: datetime | None = None
    thing: Thing | None = None

    def open_graph(self) -> list[tuple[str, str]]:
        """The properties and what they say, as the Open Graph protocol names them (ogp.me)."""
        image = self.image
        said: list[tuple[str, object]] = [
            ("og:type", self.kind),
            ("og:title", self.title),
            ("og:description", self.description),
            ("og:url", self.url),
            ("og:site_name", self.site),
            ("og:locale", _territorial(self.language)),
            ("og:image", image.url if image else None),
            ("og:image:alt", image.alt if image else None),
            ("og:image:width", image.width if image else None),
            ("og:image:height", image.height if image else None),
            ("article:published_time", _iso(self.published_at)),
        ]
        return [(name, str(value)) for name, value in said if value]


def of_publication(publication: Publication, base_url: str, *, path: str = "") -> Card:
    """The card of a publication's page; path: below its sign-up page, such as "archive/"."""
    home = publication.home_url(base_url)
    description = _cut(publication.description or "")
    logo = theme.logo(publication)
    image = Image(logo["url"], logo["alt"], logo["width"], logo["height"]) if logo else None
    thing = {
        "@context": _VOCABULARY,
        "@type": "Periodical",
        "name": publication.title,
        "url": home,
        "description": description,
        "inLanguage": publication.language,
        "publisher": _publisher(publication, base_url),
    }
    return Card(
        url=home + path,
        title=publication.title,
        site=publication.title,
        language=publication.language,
        description=description,
        image=image,
        thing=None if path else _without_nothing(thing),
    )


def of_digest(publication: Publication, found: Published, content: Content, base_url: str) -> Card:
    """The card of a digest in the archive. Its picture is the lead's, or the first that it has."""
    url = f"{publication.home_url(base_url)}archive/{found.name}"
    pictured = sorted((piece for piece in content.pieces if piece.picture), key=_lead_first)
    image = _image(pictured[0]) if pictured else None
    thing = {
        "@context": _VOCABULARY,
        "@type": "Article",
        "headline": content.subject,
        "description": content.preheader,
        "inLanguage": content.language,
        "datePublished": _iso(found.published_at),
        "url": url,
        "mainEntityOfPage": url,
        "image": [piece.picture for piece in pictured],
        "author": _publisher(publication, base_url),
        "publisher": _publisher(publication, base_url),
        "isPartOf": {
            "@type": "Periodical",
            "name": publication.title,
            "url": publication.home_url(base_url),
        },
        "isAccessibleForFree": True,
        "hasPart": [_part(piece) for piece in content.pieces],
    }
    return Card(
        url=url,
        title=content.subject,
        site=publication.title,
        language=content.language,
        kind="article",
        description=_cut(content.preheader),
        image=image,
        published_at=found.published_at,
        thing=_without_nothing(thing),
    )


def _part(piece: Piece) -> Thing:
    author = {"@type": "Person", "name": piece.author} if piece.author else None
    return _without_nothing(
        {
            "@type": "Article",
            "headline": piece.title,
            "url": piece.url,
            "author": author,
            "datePublished": piece.published,
            "image": piece.picture,
            "keywords": list(piece.tags),
        }
    )


def _publisher(publication: Publication, base_url: str) -> Thing:
    logo = theme.logo(publication)
    picture = {"@type": "ImageObject", "url": logo["url"]} if logo else None
    return _without_nothing(
        {
            "@type": "Organization",
            "name": publication.from_name,
            "url": publication.home_url(base_url),
            "logo": picture,
        }
    )


def _image(piece: Piece) -> Image:
    return Image(piece.picture or "", piece.image_alt, piece.image_width, piece.image_height)


def _lead_first(piece: Piece) -> bool:
    return not piece.is_lead


def _cut(text: str) -> str:
    return summary.cut(text, limit=_DESCRIPTION) if text else ""


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _without_nothing(thing: Thing) -> Thing:
    return {name: value for name, value in thing.items() if value not in (None, "", [])}


def _territorial(language: str) -> str:
    """`language` with a territory, as og:locale wants it: "de" is "de_DE"."""
    locale = locale_of(language)
    if locale.territory:
        return f"{locale.language}_{locale.territory}"
    likely = get_global("likely_subtags").get(locale.language, "").split("_")
    return f"{locale.language}_{likely[-1]}" if len(likely) > 1 else locale.language
