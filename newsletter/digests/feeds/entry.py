"""One entry of a feed, of whatever kind of feed, made into an article.

What is missing is made up for: a title from the first words, an id from the address or the words,
a summary from the first sentences. What a letter could not show, or a reader's mail program should
not follow, is left out. Only an entry that says nothing at all is no article.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from newsletter.digests import markup, rawhtml, summary
from newsletter.digests.feeds.pictures import Picture, best
from newsletter.digests.reading import LONGEST, MAX_TAGS, ArticleInput, language_tag
from newsletter.errors import BadInput
from newsletter.store import ArticleOrigin, BodyFormat

MAX_GUID = 300
_TITLE_FROM_TEXT = 60
# What is said of a text that is too large to be cleaned is read out of its beginning.
_BEGINNING = 20_000
_ADDRESS = re.compile(r"[(<]?\S+@[^\s)>]+[)>]?|mailto:")
# What a campaign adds to an address, in every feed anew.
_CAMPAIGN = re.compile(r"(?:^|(?<=&))(?:utm_[a-z_]+|fbclid|gclid|mc_[ce]id)=[^&]*(?:&|$)")
_APPEARED = re.compile(
    r"<p>The post <a [^>]*>[^<]{0,400}</a> (?:first appeared|appeared first) on "
    r"<a [^>]*>[^<]{0,300}</a>\.?</p>\s*\Z"
)
# Tags that a title may have, as a pair.
_FORMATTING = re.compile(
    r"<(/?)(abbr|a|b|cite|code|del|em|font|ins|i|mark|q|small|span|strong|sub|sup|s|u)\b[^<>]*>",
    re.IGNORECASE,
)
_UNSEEN = "\u200c\u200d\u200e\u200f"
# WordPress files under it what is filed under nothing.
_NO_TAGS = {"uncategorized", "uncategorised"}


@dataclass(frozen=True)
class Words:
    """Something written. kind: "html", "text", or "" when the feed does not say.

    base: what addresses in it are relative to, when the feed says so.
    """

    value: str = ""
    kind: str = ""
    base: str = ""

    def __bool__(self) -> bool:
        return bool(self.value.strip())


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What a feed says of an entry, as it says it: nothing of it is checked.

    links: addresses that it may have, absolute or not, the likeliest first. base: what these are
    relative to, "" when it does not say. bodies, summaries: the fullest first.
    """

    guid: str = ""
    links: Sequence[str] = ()
    base: str = ""
    title: Words = field(default_factory=Words)
    bodies: Sequence[Words] = ()
    summaries: Sequence[Words] = ()
    published: datetime | None = None
    authors: Sequence[str] = ()
    tags: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    language: str = ""
    site: str = ""


@dataclass(frozen=True)
class Channel:
    """What a feed says of itself, checked. title, site_url, language: None when it does not."""

    title: str | None
    site_url: str | None
    language: str | None


@dataclass(frozen=True)
class Entry:
    """An article of a feed, and the id by which the feed knows it: at most 300 characters."""

    guid: str
    article: ArticleInput


def read(raw: Raw, channel: Channel, base: str) -> Entry | None:
    """The article that `raw` is about; None when it says nothing.

    base: what its addresses are relative to, unless it says so itself or has an address.
    """
    base = raw.base or base
    url = _url(raw, channel, base)
    body = _body(raw.bodies, url or base)
    title = plain(raw.title) or summary.cut(
        rawhtml.words(body[:_BEGINNING]), limit=_TITLE_FROM_TEXT
    )
    short = _summary(raw, body)
    if not title:
        return None
    picture = best(raw.pictures, body, base)
    alt = _line(picture.alt, LONGEST["image_alt"]) if picture else None
    article = ArticleInput(
        title=_clip(title, LONGEST["title"]),
        body=body,
        body_format=BodyFormat.HTML,
        origin=ArticleOrigin.FEED,
        url=url,
        published=raw.published,
        author=_authors(raw.authors),
        summary=short or None,
        image=picture.url if picture else None,
        image_width=picture.width if picture else None,
        image_height=picture.height if picture else None,
        # Read out beside the title, the title once more says nothing.
        image_alt=None if alt == title else alt,
        image_credit=_line(picture.credit, LONGEST["image_credit"]) if picture else None,
        tags=_tags(raw.tags),
        site=_line(raw.site, LONGEST["site"]) or channel.title,
        language=language_tag(raw.language) or channel.language,
    )
    return Entry(_guid(raw, article), article)


def plain(words: Words) -> str:
    """`words` as one line of plain text.

    Where a feed does not say whether they are HTML, they are if they look like it: "Using <dialog>"
    keeps its word, "A <b>bold</b> one" loses its tags.
    """
    value = words.value[:_BEGINNING]
    if words.kind == "html" or (not words.kind and _looks_like_html(value)):
        return _one_line(rawhtml.words(value))
    return _one_line(value if words.kind == "text" else html.unescape(value))


def _looks_like_html(value: str) -> bool:
    found = [(tag[1], tag[2].lower()) for tag in _FORMATTING.finditer(value)]
    return bool({n for slash, n in found if slash} & {n for slash, n in found if not slash})


def without_campaign(address: str) -> str:
    """`address` without the parts that only tell its site which campaign a visitor comes from."""
    parts = urlsplit(address)
    if "=" not in parts.query:
        return address
    return urlunsplit(parts._replace(query=_CAMPAIGN.sub("", parts.query).rstrip("&")))


def _url(raw: Raw, channel: Channel, base: str) -> str | None:
    for link in filter(None, raw.links):
        address = rawhtml.absolute(link, base, mail=False)
        # Some feeds link every entry to the site: that is nobody's own address.
        if address and address.rstrip("/") != (channel.site_url or "").rstrip("/"):
            return without_campaign(address)
    return None


def _body(bodies: Iterable[Words], base: str) -> str:
    """The first of `bodies` that can be shown, cleaned; "" when there is none."""
    for words in filter(None, bodies):
        source = words.value
        if words.kind == "text" or (not words.kind and "<" not in source):
            # A line of text whose kind is not said may hold references: AT&amp;T.
            source = markup.of_plain(source if words.kind else html.unescape(source))
        try:
            cleaned = markup.clean(source, base_url=words.base or base)
        except BadInput:
            continue
        if cleaned:
            return _APPEARED.sub("", cleaned).rstrip()
    return ""


def _summary(raw: Raw, body: str) -> str:
    for words in filter(None, raw.summaries):
        short = summary.excerpt(plain(words) if words.kind == "text" else _as_text(words.value))
        if short:
            return short
    if body:
        return markup.opening(body, limit=summary.LENGTH)
    # What was too large or too tangled for a body still begins with something.
    return summary.cut(next((_as_text(words.value) for words in raw.bodies if words), ""))


def _as_text(value: str) -> str:
    beginning = value[:_BEGINNING]
    if len(value) > _BEGINNING:
        beginning = beginning[: beginning.rfind("<")] if "<" in beginning else beginning
    return rawhtml.words(beginning)


def _guid(raw: Raw, article: ArticleInput) -> str:
    given = _one_line(raw.guid)
    if not given:
        published = article.published.astimezone(UTC) if article.published else None
        told = f"{article.title}\n{published}\n{article.body}"
        given = article.url or f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"
    if len(given) <= MAX_GUID:
        return given
    return f"sha256:{hashlib.sha256(given.encode()).hexdigest()}"


def _authors(names: Iterable[str]) -> str | None:
    """The names without mail addresses, which are nobody's to pass on."""
    found = []
    for name in names:
        known = rawhtml.words(_ADDRESS.sub(" ", _FORMATTING.sub("", name[:200])))
        if known := _one_line(known).strip(" ()<>,;"):
            found.append(known)
    return _line(", ".join(dict.fromkeys(found)), LONGEST["author"])


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for tag in tags:
        # Ghost keeps tags that begin with # to itself.
        name = _one_line(html.unescape(tag[:500]))
        fits = 0 < len(name) <= LONGEST["tags"] and not name.startswith("#")
        if fits and name.casefold() not in _NO_TAGS:
            found.setdefault(name.casefold(), name)
    return tuple(found.values())[:MAX_TAGS]


def _one_line(text: str) -> str:
    """`text` as one line, without what a reader does not see and what turns the rest around.

    Joiners are part of words and of emoji, marks of direction part of Arabic and Hebrew.
    """
    kept = (
        c if c.isprintable() or c in _UNSEEN else "" if unicodedata.category(c) == "Cf" else " "
        for c in text
    )
    return " ".join("".join(kept).split())


def _line(text: str, most: int) -> str | None:
    return _clip(_one_line(text), most) or None


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else summary.cut(text, limit=most)
