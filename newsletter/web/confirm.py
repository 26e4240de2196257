"""The page behind the link in a confirmation mail: one button, and "this was not me".

Looking changes nothing, however often a mail scanner looks; pressing the button confirms, and
pressing it again shows the same page. While the consent log has a fault nobody is confirmed;
"this was not me" always works.
"""

from __future__ import annotations

from datetime import timedelta

from flask import Flask, Response, request
from sqlalchemy.orm import Session

from newsletter.consent import checkpoint
from newsletter.store import SubscriptionState
from newsletter.subscriptions import confirm
from newsletter.web import client, language
from newsletter.web.limits import Limits
from newsletter.web.linked import Named, named
from newsletter.web.pages import page
from newsletter.web.site import database, keep_ledger, now, site


def add_routes(app: Flask, limits: Limits) -> None:
    """Add the routes of this module to `app`."""
    view = limits.forms(confirmation)
    app.add_url_rule("/confirm/<link>", "confirm", view, methods=["GET", "POST"])


def confirmation(link: str) -> Response:
    """Show what the link confirms, or do what one of its page's buttons says."""
    days = site().settings.confirm_days
    found = named("confirm", link, good_for=timedelta(days=days))
    if request.method != "POST":
        return _show(found)
    match request.form.get("action"):
        case "deny":
            return _deny(found)
        case "again":
            return _send_again(found)
        case _:
            return _accept(found)


def _show(found: Named) -> Response:
    with database() as session:
        view = _look(session, found)
    if view is None:
        return page("confirm_ended", status=410)
    return _refusal(found, view) or page("confirm", publication=view.publication, view=view)


def _look(session: Session, found: Named) -> confirm.View | None:
    """What the link is about; the page is then in the language in which the reader signed up."""
    view = confirm.look(session, found.name)
    if view is not None:
        language.settle(view.publication.language, first=view.language)
    return view


def _accept(found: Named) -> Response:
    with database() as session:
        view = _look(session, found)
        if view is None:
            return page("confirm_ended", status=410)
        refusal = _refusal(found, view)
        if refusal is not None:
            return refusal
        checkpoint.guard(session, site().keyring)
        view = confirm.accept(
            session,
            found.name,
            client.evidence("link", "/confirm/"),
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    return page("confirmed", publication=view.publication)


def _refusal(found: Named, view: confirm.View) -> Response | None:
    """The page for a link whose button has nothing to do; None when it has."""
    if not view.current:
        return page("confirm_ended", publication=view.publication, status=410)
    if view.state == SubscriptionState.CONFIRMED:
        return page("confirmed", publication=view.publication)
    if found.is_too_old:
        return page("confirm_expired", publication=view.publication, view=view, status=410)
    return None


def _deny(found: Named) -> Response:
    with database() as session:
        view = _look(session, found)
        if view is not None and view.is_former:
            return page("confirm_ended", publication=view.publication, status=410)
        confirm.deny(
            session,
            found.name,
            client.evidence("link", "/confirm/"),
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    keep_ledger()
    return page("denied", publication=view.publication if view else None)


def _send_again(found: Named) -> Response:
    with database() as session:
        checkpoint.guard(session, site().keyring)
        view = _look(session, found)
        confirm.send_again(
            session,
            found.name,
            client.evidence("link", "/confirm/"),
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    # The same page whether a mail may go out or not.
    return page("sent_again", publication=view.publication if view else None)
