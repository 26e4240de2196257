"""The digests that were sent, to be read on the web; "view in browser" in a letter links here.

What is shown is the frozen content, without any reader's name or links.
"""

from __future__ import annotations

from flask import Flask, Response, request

from newsletter.digests.content import Content
from newsletter.errors import NotFound
from newsletter.store.archive import latest, published
from newsletter.subscriptions import publications
from newsletter.web import cards, headers, language
from newsletter.web.pages import page
from newsletter.web.site import database, site

# Digests on one page of the list.
LISTED = 30
_PAGES = 10_000


def add_routes(app: Flask) -> None:
    """Add the routes of this module to `app`."""
    app.add_url_rule("/<slug:slug>/archive/", "archive", listing)
    app.add_url_rule("/<slug:slug>/archive/<name>", "archived", one)


def listing(slug: str) -> Response:
    """The digests that went out, newest first, some on each page."""
    number = request.args.get("page", 1, type=int)
    if not 1 <= number <= _PAGES:
        raise NotFound("The archive has no such page.")
    with database() as session:
        publication = publications.find(session, slug)
        found = latest(session, publication, LISTED + 1, skip=(number - 1) * LISTED)
    if not found and number > 1:
        raise NotFound("The archive has no such page.")
    path = "archive/" if number == 1 else f"archive/?page={number}"
    return _revalidated(
        page(
            "archive",
            publication=publication,
            digests=found[:LISTED],
            newer=number - 1 or None,
            older=number + 1 if len(found) > LISTED else None,
            card=cards.of_publication(publication, site().settings.base_url, path=path),
        )
    )


def one(slug: str, name: str) -> Response:
    """One digest, as everybody got it."""
    with database() as session:
        publication = publications.find(session, slug)
        told = published(session, publication, name)
    if told is None:
        raise NotFound("There is no such digest in the archive.")
    content = Content.from_json(told.content)
    # What is ours on the page speaks the digest's language, unless the address asks for another.
    language.settle(publication.language, first=content.language)
    headers.allow_foreign_pictures()
    return _revalidated(
        page(
            "archived",
            publication=publication,
            content=content,
            told=told,
            card=cards.of_digest(publication, told.published, content, site().settings.base_url),
        )
    )


def _revalidated(answer: Response) -> Response:
    """The answer, or 304 to whoever has this one already."""
    answer.add_etag(weak=True)
    answer.make_conditional(request)
    return answer
