"""JSON Feed 1.0 and 1.1 (jsonfeed.org/version/1.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from newsletter.digests import rawhtml
from newsletter.digests.feeds import dates
from newsletter.digests.feeds.entry import Channel, Raw, Words, plain
from newsletter.digests.feeds.pictures import Picture
from newsletter.digests.reading import LONGEST, language_tag


def parse(text: str) -> Mapping[str, Any] | None:
    """The feed in `text`; None when it is none."""
    try:
        feed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_feed = isinstance(feed, dict) and isinstance(feed.get("items"), list)
    return feed if is_feed else None


def channel(feed: Mapping[str, Any], *, url: str) -> Channel:
    """What the feed says of itself. url: where it came from."""
    return Channel(
        title=plain(Words(_text(feed, "title"), "text"))[: LONGEST["site"]] or None,
        site_url=rawhtml.absolute(_text(feed, "home_page_url"), url, mail=False),
        language=language_tag(_text(feed, "language")),
    )


def entries(feed: Mapping[str, Any], *, max_entries: int) -> Iterator[Raw]:
    """The first entries of the feed."""
    for item in feed["items"][:max_entries]:
        if isinstance(item, Mapping):
            yield _entry(item, feed)


def _entry(item: Mapping[str, Any], feed: Mapping[str, Any]) -> Raw:
    full = [Words(_text(item, "content_html"), "html"), Words(_text(item, "content_text"), "text")]
    return Raw(
        guid=_text(item, "id"),
        links=[_text(item, "url"), _text(item, "external_url")],
        title=Words(_text(item, "title"), "text"),
        bodies=full,
        summaries=[Words(_text(item, "summary"), "text")],
        published=dates.read(_text(item, "date_published"))
        or dates.read(_text(item, "date_modified")),
        authors=_authors(item) or _authors(feed),
        tags=[str(tag) for tag in _list(item, "tags") if isinstance(tag, str)],
        pictures=list(_pictures(item)),
        language=_text(item, "language"),
    )


def _text(item: Mapping[str, Any], name: str) -> str:
    """A field as text: some write numbers as ids."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    # A half of a surrogate pair can stand in JSON, and in nothing that we keep.
    return str(value).encode("utf-8", "replace").decode()


def _list(item: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = item.get(name)
    return value[:100] if isinstance(value, list) else ()


def _authors(item: Mapping[str, Any]) -> list[str]:
    # Version 1.0 had one author.
    people = [*_list(item, "authors"), item.get("author")]
    return [name for each in people if isinstance(each, Mapping) and (name := _text(each, "name"))]


def _pictures(item: Mapping[str, Any]) -> Iterator[Picture]:
    for name in ("image", "banner_image"):
        if address := _text(item, name):
            yield Picture(url=address)
    for each in _list(item, "attachments"):
        if isinstance(each, Mapping) and _text(each, "mime_type").startswith("image/"):
            yield Picture(url=_text(each, "url"))
