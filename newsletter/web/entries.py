"""A feed and its entries as plain values: what Atom and JSON Feed both say, each in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

# Our own, drawn at random once: names made of it are ours alone (RFC 9562 §5.5).
_NAMESPACE = UUID("3d2f5c0e-6d0a-4f57-9a53-0c1d1f2b7f3e")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A publication as a feed. Addresses are absolute; updated_at: when its newest entry came."""

    id: str
    title: str
    description: str | None
    language: str
    home_url: str
    feed_url: str
    author: str
    logo_url: str | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A digest as an entry. html: all that it says, cleaned, with absolute addresses only."""

    id: str
    url: str
    title: str
    summary: str
    html: str
    language: str
    published_at: datetime
    image_url: str | None
    tags: tuple[str, ...]


def entry_id(public_id: str) -> str:
    """Names a digest for ever, wherever the installation moves to (RFC 4287 §4.2.6.1)."""
    return uuid5(_NAMESPACE, f"digest {public_id}").urn


def feed_id(slug: str, created_at: datetime) -> str:
    """Names a publication for ever; two installations may have the same slug."""
    return uuid5(_NAMESPACE, f"publication {slug} {created_at.isoformat()}").urn
