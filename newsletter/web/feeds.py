"""A publication's newest digests for feed readers: Atom (RFC 4287) and JSON Feed 1.1, full text.

What is in a feed is what is in the archive: the frozen content, without any reader's name or links.
A feed reader asks often and mostly for nothing new: it is answered without reading any content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache

from flask import Flask, Response, request
from sqlalchemy.orm import Session

from newsletter import __version__
from newsletter.digests.content import Content
from newsletter.resources import resource_dir
from newsletter.store import Publication
from newsletter.store.archive import Published, Told, contents, names
from newsletter.subscriptions import publications
from newsletter.web import atom, jsonfeed, language, theme
from newsletter.web.entries import Entry, Feed, entry_id, feed_id
from newsletter.web.pages import render
from newsletter.web.site import database, site

# Digests in a feed. A reader asks again long before that many are new.
LISTED = 20

Write = Callable[[Feed, Sequence[Entry]], bytes]


def add_routes(app: Flask) -> None:
    """Add the routes of this module to `app`."""
    app.add_url_rule("/<slug:slug>/feed.xml", "atom", atom_feed)
    app.add_url_rule("/<slug:slug>/feed.json", "json_feed", json_feed)


def atom_feed(slug: str) -> Response:
    """The newest digests as Atom."""
    return _answer(slug, "feed.xml", atom.write, "application/atom+xml")


def json_feed(slug: str) -> Response:
    """The newest digests as JSON Feed."""
    return _answer(slug, "feed.json", jsonfeed.write, "application/feed+json")


def _answer(slug: str, path: str, write: Write, kind: str) -> Response:
    with database() as session:
        publication = publications.find(session, slug)
        listed = names(session, publication, LISTED)
        feed = _feed(publication, path, listed)
        answer = Response(mimetype=kind)
        answer.set_etag(_fingerprint(feed, listed))
        answer.last_modified = feed.updated_at
        answer.make_conditional(request)
        if answer.status_code != 304:
            entries = _entries(session, publication)
            answer.set_data(write(feed, entries))
    return answer


def _feed(publication: Publication, path: str, listed: Sequence[Published]) -> Feed:
    home = publication.home_url(site().settings.base_url)
    logo = theme.logo(publication)
    return Feed(
        id=feed_id(publication.slug, publication.created_at),
        title=publication.title,
        description=publication.description,
        language=publication.language,
        home_url=home,
        feed_url=home + path,
        author=publication.from_name,
        logo_url=logo["url"] if logo else None,
        updated_at=max((each.published_at for each in listed), default=publication.created_at),
    )


def _entries(session: Session, publication: Publication) -> list[Entry]:
    found = []
    for told in contents(session, publication, LISTED):
        content = Content.from_json(told.content)
        # What is ours in an entry ("Read on") speaks its language.
        language.change(content.language)
        found.append(_entry(publication, told, content))
    return found


def _entry(publication: Publication, told: Told, content: Content) -> Entry:
    name = told.published.name
    tags = dict.fromkeys(tag for piece in content.pieces for tag in piece.tags)
    pictured = sorted(
        (piece for piece in content.pieces if piece.picture), key=lambda piece: not piece.is_lead
    )
    return Entry(
        id=entry_id(name),
        url=f"{publication.home_url(site().settings.base_url)}archive/{name}",
        title=content.subject,
        summary=content.preheader,
        html=render("_entry", content=content).strip(),
        language=content.language,
        published_at=told.published.published_at,
        image_url=pictured[0].picture if pictured else None,
        tags=tuple(tags),
    )


def _fingerprint(feed: Feed, listed: Sequence[Published]) -> str:
    """Names what the feed says: all that it is made of, but content, which never changes."""
    said = [
        _made_by(),
        asdict(feed),
        [(each.name, each.subject, each.published_at) for each in listed],
    ]
    text = json.dumps(said, default=datetime.isoformat, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _made_by() -> str:
    """Names the code: after an update of it a feed may say the same in other words."""
    template = resource_dir("templates") / "pages" / "_entry.html"
    return f"{__version__} {hashlib.sha256(template.read_bytes()).hexdigest()}"
