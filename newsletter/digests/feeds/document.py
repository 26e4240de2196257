"""A document from the web, read as a feed; or as the page that says where its feeds are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from newsletter.digests import rawhtml
from newsletter.digests.feeds import jsonfeed, tree, xmlfeed
from newsletter.digests.feeds.charset import decode
from newsletter.digests.feeds.entry import Channel, Entry, Raw
from newsletter.digests.feeds.entry import read as read_entry
from newsletter.errors import BadInput

_FEED_TYPES = {
    *("application/rss+xml", "application/atom+xml", "application/feed+json"),
    *("application/rdf+xml", "application/json", "text/xml", "application/xml"),
}
# Feeds are named in the head of a page.
_HEAD = 200_000


@dataclass(frozen=True)
class Reading:
    """What a feed said. entries: each id and each url once, in the feed's order. unusable: how many
    said nothing.
    """

    channel: Channel
    entries: tuple[Entry, ...]
    unusable: int


def read(body: bytes, content_type: str, *, url: str, max_entries: int) -> Reading:
    """The feed in `body`, as an HTTP server sent it.

    content_type: the header, or "". url: where it came from. max_entries: how many are read.

    Takes seconds for the largest and most hostile: call it outside of a transaction. Raises
    BadInput when it is no feed.
    """
    text = decode(body, content_type)
    if text.lstrip()[:1] == "{":
        feed = jsonfeed.parse(text)
        if feed is None:
            raise BadInput(f"{url} is JSON, but no JSON Feed.")
        raws = jsonfeed.entries(feed, max_entries=max_entries)
        return _reading(jsonfeed.channel(feed, url=url), raws, url)
    root = tree.read(text, url=url, max_entries=max_entries)
    if root is None:
        raise BadInput(f"{url} is neither RSS nor Atom nor JSON Feed.")
    return _reading(xmlfeed.channel(root, url=url), xmlfeed.entries(root), url)


def _reading(channel: Channel, raws: Iterator[Raw], url: str) -> Reading:
    entries: dict[str, Entry] = {}
    urls: set[str] = set()
    unusable = 0
    for raw in raws:
        entry = read_entry(raw, channel, channel.site_url or url)
        if entry is None:
            unusable += 1
        elif entry.guid not in entries and entry.article.url not in urls:
            entries[entry.guid] = entry
            urls.update(filter(None, [entry.article.url]))
    return Reading(channel, tuple(entries.values()), unusable)


def discover(body: bytes, content_type: str, *, url: str) -> list[str]:
    """The addresses of the feeds that a web page names, in its order; none when it is no page."""
    found: dict[str, None] = {}
    for tag in rawhtml.TAG.finditer(decode(body, content_type)[:_HEAD]):
        if tag[1] or tag[2].lower() != "link":
            continue
        attributes = rawhtml.attributes(tag[3])
        is_feed = attributes.get("type", "").partition(";")[0].strip().lower() in _FEED_TYPES
        if is_feed and "alternate" in attributes.get("rel", "").lower().split():
            address = rawhtml.absolute(attributes.get("href", ""), url, mail=False)
            if address:
                found.setdefault(address)
    return list(found)
