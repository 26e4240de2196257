"""What only the reader may see: consent history and its proof, all that is kept, being forgotten.

The link comes in a mail to the reader's own mailbox and is good for an hour.
"""

from __future__ import annotations

import json
from datetime import timedelta

from flask import Flask, Response, request

from newsletter.consent import receipt
from newsletter.errors import NotFound
from newsletter.store import traces
from newsletter.store.find import subscriber_by_public_id
from newsletter.subscriptions import erase, preferences
from newsletter.web import client, language
from newsletter.web.forms import ForgetForm
from newsletter.web.limits import Limits
from newsletter.web.linked import Named, named
from newsletter.web.pages import page
from newsletter.web.preferences import look_of
from newsletter.web.site import database, keep_ledger, now, reading, site

# What the page's buttons ask for, and the name and kind of the file that they give.
_RECEIPTS = {
    "receipt": ("consent-receipt.json", "application/json"),
    "receipt-page": ("consent-receipt.html", "text/html"),
}


def add_routes(app: Flask, limits: Limits) -> None:
    """Add the routes of this module to `app`."""
    view = limits.forms(own_data)
    app.add_url_rule("/access/<link>", "access", view, methods=["GET", "POST"])
    app.add_url_rule("/access/<link>/data.json", "access_data", download)


def own_data(link: str) -> Response:
    """Show what is kept, hand out its proof, or forget it."""
    found = _named(link)
    _speak_to(found)
    if request.method == "POST" and request.form.get("action") == "again":
        return _mail_again(found)
    if found.is_too_old:
        return page("access_expired", status=410)
    if request.method == "POST" and request.form.get("action") == "forget":
        return _forget(found, link)
    if request.method == "POST" and request.form.get("action") in _RECEIPTS:
        return _receipt(found, request.form["action"])
    return _show(found, link, ForgetForm())


def download(link: str) -> Response:
    """All that is kept of the reader, as a JSON file (GDPR Art. 20)."""
    found = _named(link)
    _speak_to(found)
    if found.is_too_old:
        return page("access_expired", status=410)
    with database() as session:
        try:
            kept = preferences.everything(session, found.name)
        except NotFound:
            return page("nothing_kept", status=410)
    text = json.dumps(kept, ensure_ascii=False, indent=2)
    answer = Response(text, mimetype="application/json")
    answer.headers["Content-Disposition"] = 'attachment; filename="my-data.json"'
    return answer


def _named(link: str) -> Named:
    good_for = timedelta(minutes=site().settings.access_minutes)
    return named("access", link, good_for=good_for)


def _speak_to(found: Named) -> None:
    """From here on in the reader's language, if there still is a reader."""
    with reading() as session:
        subscriber = subscriber_by_public_id(session, found.name)
    if subscriber is not None:
        language.settle(subscriber.language, first=subscriber.language)


def _show(found: Named, link: str, form: ForgetForm, *, status: int = 200) -> Response:
    with database() as session:
        view = preferences.look(session, found.name)
        history = preferences.history(session, found.name)
    if view is None:
        return page("nothing_kept", status=410)
    titles = {publication.slug: publication.title for publication, _subscription in view.rows}
    return page(
        "access",
        publication=look_of(view),
        subscriber=view.subscriber,
        history=history,
        titles=titles,
        link=link,
        form=form,
        status=status,
    )


def _receipt(found: Named, action: str) -> Response:
    """The proof of the reader's events as a file. A POST: a checkpoint may be signed for it."""
    with database() as session:
        subscriber = subscriber_by_public_id(session, found.name)
        if subscriber is None:
            return page("nothing_kept", status=410)
        made = receipt.build(session, site().keyring, subscriber, None, now=now())
    name, kind = _RECEIPTS[action]
    is_page = action == "receipt-page"
    answer = Response(receipt.html(made, language.current()) if is_page else receipt.written(made))
    answer.mimetype = kind
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _forget(found: Named, link: str) -> Response:
    form = ForgetForm(request.form)
    if not form.validate():
        return _show(found, link, form, status=422)
    with database() as session:
        subscriber = subscriber_by_public_id(session, found.name)
        if subscriber is None:
            return page("nothing_kept", status=410)
        erase.forget(
            session,
            subscriber,
            client.evidence("preferences", "/access/"),
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    keep_ledger()
    # The file of a large installation is cleaned by the worker: it takes its time.
    erase.clean(site().engine, patience=1, at_most=traces.SMALL)
    return page("forgotten")


def _mail_again(found: Named) -> Response:
    with database() as session:
        preferences.send_access(
            session, found.name, slug=None, hash_key=site().settings.hash_key_bytes, now=now()
        )
    return page("access_sent", minutes=round(site().settings.access_minutes))
