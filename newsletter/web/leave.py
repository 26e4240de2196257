"""Unsubscribing: one button for people, one POST for mail programs (RFC 8058).

The link never expires, needs no cookie, is never redirected and never limited; a second time, or
after the reader was erased, it answers just as kindly.
"""

from __future__ import annotations

from typing import Literal

from flask import Flask, Response, request
from sqlalchemy.orm import Session

from newsletter.store import SubscriptionState
from newsletter.subscriptions import leave
from newsletter.web import client, language
from newsletter.web.linked import named
from newsletter.web.pages import page
from newsletter.web.site import database, keep_ledger, now, site

_ALIVE = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)


def add_routes(app: Flask) -> None:
    """Add the routes of this module to `app`; none of them is limited."""
    app.add_url_rule("/unsubscribe/<link>", "unsubscribe", unsubscribing, methods=["GET", "POST"])


def unsubscribing(link: str) -> Response:
    """Show the button, or leave at once."""
    name = named("unsubscribe", link).name
    if request.method == "POST":
        return _leave(name)
    with database() as session:
        view = _look(session, name)
    if view is None or view.state not in _ALIVE:
        return page("left", publication=view.publication if view else None, view=view)
    return page("leave", publication=view.publication, view=view)


def _leave(name: str) -> Response:
    # RFC 8058 §3.2: the body is this one pair, urlencoded or multipart; anything else is a person.
    is_one_click = request.form.get("List-Unsubscribe") == "One-Click"
    channel: Literal["one-click", "link"] = "one-click" if is_one_click else "link"
    with database() as session:
        _look(session, name)
        view = leave.by_reader(
            session,
            name,
            client.evidence(channel, "/unsubscribe/"),
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    keep_ledger()
    return page("left", publication=view.publication if view else None, view=view)


def _look(session: Session, name: str) -> leave.View | None:
    """What the link is about; the page is then in the language in which the reader signed up."""
    view = leave.look(session, name)
    if view is not None:
        language.settle(view.publication.language, first=view.language)
    return view
