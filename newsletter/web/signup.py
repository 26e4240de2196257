"""Signing up: the start page, a publication's form, what the form does, and the form to paste.

The answer to a form never tells what the address is to us: new, waiting, confirmed or blocked, the
page is the same to the byte.
"""

from __future__ import annotations

import random
import time
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from markupsafe import Markup

from newsletter import consent
from newsletter.consent import checkpoint
from newsletter.store import Publication
from newsletter.store.archive import Published, latest
from newsletter.subscriptions import publications, signup
from newsletter.web import cards, client, headers, language, theme
from newsletter.web.forms import SignupForm
from newsletter.web.limits import Limits
from newsletter.web.pages import page, render
from newsletter.web.site import database, now, reading, site

_RECENT = 3
# The app's own setting: seconds. A new address costs some writes, a blocked one none.
ANSWER_AFTER = "SIGNUP_ANSWER_AFTER"


def add_routes(app: Flask, limits: Limits) -> None:
    """Add the routes of this module to `app`."""
    app.config.setdefault(ANSWER_AFTER, 0.15)
    app.add_url_rule("/", "start", start)
    app.add_url_rule("/<slug:slug>/", "publication", publication)
    app.add_url_rule("/<slug:slug>/theme.css", "theme", stylesheet)
    app.add_url_rule("/<slug:slug>/embed", "embed", embed)
    # GET shows the form: somebody may load the address again that the form was posted to.
    app.add_url_rule("/<slug:slug>/subscribe", "form", publication)
    view = limits.signups(subscribe)
    app.add_url_rule("/<slug:slug>/subscribe", "subscribe", view, methods=["POST"])


def start() -> Response:
    """The publications; the only one's sign-up page when there is one."""
    with database() as session:
        found = list(publications.all_of(session))
        if len(found) == 1:
            return _form_page(found[0], SignupForm(found[0]), latest(session, found[0], _RECENT))
    return page("start", publications=found)


def publication(slug: str) -> Response:
    """A publication's sign-up page."""
    with database() as session:
        found = publications.find(session, slug)
        return _form_page(found, SignupForm(found), latest(session, found, _RECENT))


def subscribe(slug: str) -> Response:
    """Take the form, and answer as late as the slowest case: the time tells nothing either."""
    begun = time.monotonic()
    response = _take(slug)
    if response.status_code == 200:
        # Spreads the answers, guards nothing.
        spread = random.uniform(0, 0.02)  # noqa: S311
        rest = begun + current_app.config[ANSWER_AFTER] + spread - time.monotonic()
        time.sleep(max(0.0, rest))
    return response


def _take(slug: str) -> Response:
    """Into the outbox with the confirmation mail, or back with what is wrong."""
    with reading() as session:
        found = publications.find(session, slug)
    language.settle(found.language)
    form = SignupForm(found, request.form)
    if form.is_trapped:
        return page("thanks", publication=found)
    if not form.validate() or form.address is None or form.shown is None:
        return _form_page(found, form, [], status=422)
    asked = signup.Signup(form.address, form.name.data or None, form.spoken)
    shown_at = "embed" if form.origin.data == "embed" else ""
    evidence = client.evidence(
        "form",
        f"/{slug}/{shown_at}",
        entered=(form.email.data or "").strip(),
        box_ticked=True,
        wording=form.shown,
        language=form.shown.language,
    )
    with database() as session:
        checkpoint.guard(session, site().keyring)
        signup.request(
            session,
            publications.find(session, slug),
            asked,
            evidence,
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    return page("thanks", publication=found)


def embed(slug: str) -> Response:
    """The form as plain HTML for somebody's own site, and what it looks like."""
    with database() as session:
        found = publications.find(session, slug)
    tag = language.settle(found.language)
    wording = consent.wording_of(found, tag)
    # Whoever posts the form is answered in its language, and keeps it.
    address = site().url(f"/{slug}/subscribe?lang={tag}")
    parts = urlsplit(address)
    headers.allow_forms_to(f"{parts.scheme}://{parts.netloc}")
    snippet = render("_embed", publication=found, wording=wording, action=address, lang=tag)
    preview = Markup(snippet.replace(_AWAY_INLINE, _AWAY_CLASS))  # noqa: S704 - made by a template
    return page("embed", publication=found, snippet=snippet, preview=preview)


# On another site the hidden field must hide itself; here the stylesheet does it, as the policy of
# our pages allows no inline style.
_AWAY_INLINE = 'style="position:absolute;left:-9999px"'
_AWAY_CLASS = 'class="away"'


def stylesheet(slug: str) -> Response:
    """The publication's colour and fonts."""
    with database() as session:
        found = publications.find(session, slug)
    return Response(theme.stylesheet(found), mimetype="text/css")


def _form_page(
    found: Publication, form: SignupForm, recent: list[Published], *, status: int = 200
) -> Response:
    tag = language.settle(found.language)
    wording = consent.wording_of(found, tag)
    return page(
        "signup",
        publication=found,
        form=form,
        wording=wording,
        recent=recent,
        card=cards.of_publication(found, site().settings.base_url),
        status=status,
    )
