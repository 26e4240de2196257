"""A feed in JSON: JSON Feed 1.1 (jsonfeed.org/version/1.1), with nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from newsletter.web.entries import Entry, Feed


def write(feed: Feed, entries: Sequence[Entry]) -> bytes:
    """The document, in UTF-8. What is not known is left out, as the specification wants it."""
    document = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "home_page_url": feed.home_url,
        "feed_url": feed.feed_url,
        "description": feed.description,
        "language": feed.language.replace("_", "-"),
        "authors": [{"name": feed.author, "url": feed.home_url}],
        "items": [_item(entry) for entry in entries],
    }
    return json.dumps(_known(document), ensure_ascii=False, indent=1).encode()


def _item(entry: Entry) -> dict[str, Any]:
    return _known(
        {
            "id": entry.id,
            "url": entry.url,
            "title": entry.title,
            "summary": entry.summary,
            "content_html": entry.html,
            "image": entry.image_url,
            "date_published": entry.published_at.isoformat(timespec="seconds"),
            "tags": list(entry.tags),
            "language": entry.language.replace("_", "-"),
        }
    )


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    kept = ("items", "content_html")
    return {name: value for name, value in fields.items() if value or name in kept}
