"""An article that stands on a web page: what the page says of itself, as a teaser that links to it.

Read are Open Graph, JSON-LD (schema.org), the names that search engines know and, for want of all
of them, the page's own words. The page is a stranger's: nothing of it is believed but as text, and
nothing takes longer than its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from newsletter.digests import rawhtml, summary
from newsletter.digests.feeds import dates
from newsletter.digests.feeds.charset import decode
from newsletter.digests.feeds.entry import Channel, Raw, Words
from newsletter.digests.feeds.entry import read as read_entry
from newsletter.digests.feeds.pictures import Picture
from newsletter.digests.reading import ArticleInput, language_tag, pixels
from newsletter.errors import BadInput
from newsletter.store import ArticleOrigin

# Characters of a page that are looked at, and of one block of JSON-LD.
_LOOKED_AT = 2_000_000
_LONGEST_JSON = 300_000
_TEXT_LOOKED_AT = 200_000
_MAX_BLOCKS = 20
_MAX_TAGS = 20_000
_HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|template|svg|iframe|textarea)\b.*?(?:</\1\s*>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_SCRIPT = re.compile(r"<script\b([^>]{0,500})>", re.IGNORECASE)
_TITLE = re.compile(r"<title\b[^>]{0,500}>([^<]{0,2000})", re.IGNORECASE)
_MAIN = re.compile(r"<(?:article|main)\b", re.IGNORECASE)
_PARAGRAPH = re.compile(r"<p\b", re.IGNORECASE)
_SEPARATORS = " -|–—·•:«»<>/"
# Shorter paragraphs are bylines and labels.
_SENTENCE = 60


@dataclass
class _Said:
    """What the page says. meta: the contents of each meta name, in order. thing: the JSON-LD object
    that is about the article.
    """

    meta: dict[str, list[str]] = field(default_factory=dict)
    thing: Mapping[str, Any] = field(default_factory=dict)
    canonical: str = ""
    language: str = ""
    title: str = ""
    time: str = ""

    def all(self, *names: str) -> list[str]:
        return [text for name in names for text in self.meta.get(name, ())]

    def first(self, *names: str) -> str:
        return next(iter(self.all(*names)), "")


def read(body: bytes, content_type: str, *, url: str) -> ArticleInput:
    """The article on the page in `body`, as an HTTP server sent it: its title, url and summary.

    content_type: the header, or "". url: where it came from in the end.

    Raises BadInput when the page does not say what it is called.
    """
    text = decode(body, content_type)[:_LOOKED_AT]
    visible = _HIDDEN.sub(" ", text)
    said = _said(visible)
    said.thing = next(_things(text), {})
    site = said.first("og:site_name", "application-name") or _name(said.thing.get("publisher"))
    raw = Raw(
        links=[_own_address(said, url)],
        title=Words(_title(said, site), "text"),
        summaries=[Words(each, "text") for each in _summaries(said, visible)],
        published=_published(said),
        authors=_authors(said),
        tags=[*said.all("article:tag"), *_keywords(said)],
        pictures=list(_pictures(said)),
        language=said.language or said.first("og:locale") or _text(said.thing.get("inLanguage")),
        site=site or (urlsplit(url).hostname or "").removeprefix("www."),
    )
    entry = read_entry(raw, Channel(None, None, None), url)
    if entry is None:
        raise BadInput(f"{url} does not say what it is called: write its article as a file.")
    return replace(entry.article, origin=ArticleOrigin.PAGE)


def _said(visible: str) -> _Said:
    said = _Said()
    for count, tag in enumerate(rawhtml.TAG.finditer(visible)):
        name = tag[2].lower()
        if count > _MAX_TAGS or (tag[1] and name == "head" and said.first("og:title")):
            break
        if tag[1] or name not in ("html", "meta", "link", "time"):
            continue
        attributes = rawhtml.attributes(tag[3])
        if name == "html":
            said.language = said.language or language_tag(attributes.get("lang", "")) or ""
        elif name == "time":
            said.time = said.time or attributes.get("datetime", "")
        elif name == "link":
            if "canonical" in attributes.get("rel", "").lower().split():
                said.canonical = said.canonical or attributes.get("href", "")
        else:
            key = attributes.get("property") or attributes.get("name") or attributes.get("itemprop")
            content = attributes.get("content", "").strip()[:5000]
            if key and content:
                said.meta.setdefault(key.lower(), []).append(content)
    title = _TITLE.search(visible)
    said.title = rawhtml.words(title[1]) if title else ""
    return said


def _things(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON-LD objects that are about an article, the surest first."""
    found: list[Mapping[str, Any]] = []
    for count, script in enumerate(_SCRIPT.finditer(text)):
        if count >= 10 * _MAX_BLOCKS or len(found) > _MAX_BLOCKS:
            break
        if "ld+json" not in script[1].lower():
            continue
        end = text.find("</script", script.end(), script.end() + _LONGEST_JSON)
        try:
            found += list(_objects(json.loads(text[script.end() : end]), 0))
        except (ValueError, RecursionError):
            continue
    ranked = sorted(found, key=_rank)
    yield from (thing for thing in ranked if _rank(thing) < 2)


def _objects(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list) and depth < 3:
        for each in value[:200]:
            yield from _objects(each, depth + 1)
    elif isinstance(value, Mapping):
        yield value
        yield from _objects(value.get("@graph", []), depth + 1)


def _rank(thing: Mapping[str, Any]) -> int:
    kinds = thing.get("@type")
    names = [str(kind) for kind in (kinds if isinstance(kinds, list) else [kinds])]
    if any(name.endswith(("Article", "Posting", "Report", "Episode")) for name in names):
        return 0
    return 1 if any(name in ("VideoObject", "WebPage", "Recipe", "Event") for name in names) else 2


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    return value.encode("utf-8", "replace").decode()[:5000] if isinstance(value, str) else ""


def _name(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    return _text(value.get("name")) if isinstance(value, Mapping) else _text(value)


def _own_address(said: _Said, url: str) -> str:
    """The address that the page gives as its own, if it is on the same host; else `url`.

    Some sites give their home page as that of every page: all of these would be one article.
    """
    for given in (said.canonical, said.first("og:url")):
        address = rawhtml.absolute(given, url, mail=False) if given else None
        if (
            address
            and urlsplit(address).hostname == urlsplit(url).hostname
            and (_is_home(url) or not _is_home(address))
        ):
            return address
    return url


def _is_home(address: str) -> bool:
    parts = urlsplit(address)
    return parts.path in ("", "/") and not parts.query


def _title(said: _Said, site: str) -> str:
    own = said.title
    # "The year of the swift | Field Notes": the site is said beside it already.
    if site and own.endswith(site) and own[: -len(site)].strip(_SEPARATORS):
        own = own[: -len(site)].rstrip(_SEPARATORS)
    choices = (said.first("og:title"), _text(said.thing.get("headline")))
    return next(filter(None, (*choices, said.first("twitter:title", "dc.title"), own)), "")


def _summaries(said: _Said, visible: str) -> Iterator[str]:
    yield from said.all("og:description")[:1]
    yield _text(said.thing.get("description"))
    yield from said.all("description", "twitter:description", "dc.description")[:1]
    yield _first_paragraphs(visible)


def _first_paragraphs(visible: str) -> str:
    main = _MAIN.search(visible)
    start = main.start() if main else 0
    last = start + _TEXT_LOOKED_AT
    found: list[str] = []
    places = [each.start() for each in _PARAGRAPH.finditer(visible, start, last)]
    for place, following in pairwise([*places, last]):
        end = visible.find("</p", place, following)
        words = rawhtml.words(visible[place : end if end >= 0 else following][:20_000])
        if len(words) >= _SENTENCE:
            found.append(words)
        if sum(map(len, found)) > summary.LENGTH:
            break
    return summary.cut(" ".join(found))


def _published(said: _Said) -> datetime | None:
    names = ("article:published_time", "datepublished", "date", "dc.date", "parsely-pub-date")
    choices = [*said.all(*names), _text(said.thing.get("datePublished")), said.time]
    return next(filter(None, map(dates.read, choices)), None)


def _authors(said: _Said) -> list[str]:
    given = said.thing.get("author")
    named = [_name(each) for each in (given[:20] if isinstance(given, list) else [given])]
    # article:author is often the address of a profile.
    tagged = [
        each for each in said.all("author", "article:author", "dc.creator") if "://" not in each
    ]
    return [each for each in named if each] or tagged


def _keywords(said: _Said) -> list[str]:
    given = said.thing.get("keywords")
    if isinstance(given, list):
        return [_text(each) for each in given[:50]]
    return _text(given).split(",")


def _pictures(said: _Said) -> Iterator[Picture]:
    image = said.thing.get("image")
    if isinstance(image, list):
        image = image[0] if image else None
    about: Mapping[str, Any] = image if isinstance(image, Mapping) else {"url": image}
    credit = _text(about.get("creditText")) or _name(about.get("creator"))
    for address in said.all("og:image", "og:image:url", "og:image:secure_url", "twitter:image")[:1]:
        yield Picture(
            url=address,
            width=pixels(said.first("og:image:width")),
            height=pixels(said.first("og:image:height")),
            alt=said.first("og:image:alt", "twitter:image:alt") or _text(about.get("caption")),
            credit=credit,
        )
    yield Picture(
        url=_text(about.get("url") or about.get("contentUrl")),
        width=pixels(str(about.get("width", ""))),
        height=pixels(str(about.get("height", ""))),
        alt=_text(about.get("caption")),
        credit=credit,
    )
