"""The digests that were sent, to be read on the web; "view in browser" in a letter links here.

What is shown is the frozen content, without any reader's name or links.
"""

from __future__ import annotations

from flask import Flask, Response

from newsletter.digests.content import Content
from newsletter.errors import NotFound
from newsletter.store.archive import latest, published
from newsletter.subscriptions import publications
from newsletter.web import headers
from newsletter.web.pages import page
from newsletter.web.site import database

_LISTED = 500


def add_routes(app: Flask) -> None:
    """Add the routes of this module to `app`."""
    app.add_url_rule("/<slug:slug>/archive/", "archive", listing)
    app.add_url_rule("/<slug:slug>/archive/<name>", "archived", one)


def listing(slug: str) -> Response:
    """The digests that went out, newest first."""
    with database() as session:
        publication = publications.find(session, slug)
        digests = latest(session, publication, _LISTED)
    return page("archive", publication=publication, digests=digests)


def one(slug: str, name: str) -> Response:
    """One digest, as everybody got it."""
    with database() as session:
        publication = publications.find(session, slug)
        digest = published(session, publication, name)
    if digest is None or digest.frozen is None:
        raise NotFound("There is no such digest in the archive.")
    content = Content.from_json(digest.frozen["content"])
    headers.allow_foreign_pictures()
    return page(
        "archived", publication=publication, content=content, published_at=digest.approved_at
    )
