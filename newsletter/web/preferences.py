"""What the link in a digest opens: name, language, publications, and the way to one's own data.

A digest is forwarded now and then, so nothing here tells more than the digest itself did; what is
private needs a link that is mailed to the reader's own mailbox.
"""

from __future__ import annotations

from flask import Flask, Response, request

from newsletter import consent
from newsletter.consent import checkpoint
from newsletter.store import Publication, Subscription, SubscriptionState
from newsletter.subscriptions import preferences
from newsletter.web import client, language
from newsletter.web.forms import DetailsForm, wording_shown
from newsletter.web.limits import Limits
from newsletter.web.linked import named
from newsletter.web.pages import page
from newsletter.web.site import database, keep_ledger, now, reading, site

_ALIVE = (SubscriptionState.PENDING, SubscriptionState.CONFIRMED)


def add_routes(app: Flask, limits: Limits) -> None:
    """Add the routes of this module to `app`."""
    view = limits.forms(own_page)
    app.add_url_rule("/preferences/<link>", "preferences", view, methods=["GET", "POST"])


def own_page(link: str) -> Response:
    """Show the reader's preferences, or change what one of the page's forms says."""
    name = named("preferences", link).name
    with reading() as session:
        view = preferences.look(session, name)
    if view is None:
        return page("nothing_kept", status=410)
    language.settle(view.subscriber.language, first=view.subscriber.language)
    if request.method != "POST":
        return _show(view)
    match request.form.get("action"):
        case "details":
            return _change_details(name, view)
        case "publications":
            return _change_publications(name, view)
        case "access":
            return _mail_access(name, view)
        case _:
            return _show(view, status=422)


def _show(
    view: preferences.View,
    *,
    form: DetailsForm | None = None,
    done: str = "",
    outdated: frozenset[str] = frozenset(),
    status: int = 200,
) -> Response:
    """done: which change to report, "details" or "publications"; outdated: slugs whose wording
    has changed since the form was shown."""
    subscriber = view.subscriber
    own = form or DetailsForm(name=subscriber.name or "", language=subscriber.language)
    mine = [(found, subscription) for found, subscription in view.rows if _is_alive(subscription)]
    others = [
        (found, consent.wording_of(found, language.current()))
        for found, subscription in view.rows
        if not _is_alive(subscription)
    ]
    return page(
        "preferences",
        publication=look_of(view),
        form=own,
        mine=mine,
        others=others,
        done=done,
        outdated=outdated,
        status=status,
    )


def look_of(view: preferences.View) -> Publication | None:
    """Whose look the page has: the one publication's that the reader gets."""
    mine = [found for found, subscription in view.rows if _is_alive(subscription)]
    return mine[0] if len(mine) == 1 else None


def _is_alive(subscription: Subscription | None) -> bool:
    return subscription is not None and subscription.state in _ALIVE


def _slugs(view: preferences.View) -> frozenset[str]:
    return frozenset(found.slug for found, subscription in view.rows if _is_alive(subscription))


def _change_details(name: str, view: preferences.View) -> Response:
    form = DetailsForm(request.form)
    if not form.validate():
        return _show(view, form=form, status=422)
    tag = str(form.language.data)
    wanted = preferences.Change(form.name.data or None, tag, keep=_slugs(view))
    changed = _change(name, wanted)
    language.change(tag)
    return _show(changed, done="details")


def _change_publications(name: str, view: preferences.View) -> Response:
    kept, shown = set(request.form.getlist("keep")), set(request.form.getlist("shown"))
    # Only what the form showed can be left with it: another window may have joined one meanwhile.
    keep = frozenset(slug for slug in _slugs(view) if slug in kept or slug not in shown)
    join: dict[str, consent.Wording] = {}
    outdated = set()
    for found in _asked_for(view):
        wording = wording_shown(found, request.form.get(f"wording-{found.slug}", ""))
        if wording is None:
            outdated.add(found.slug)
        else:
            join[found.slug] = wording
    if outdated:
        return _show(view, outdated=frozenset(outdated), status=422)
    subscriber = view.subscriber
    wanted = preferences.Change(subscriber.name, subscriber.language, keep=keep, join=join)
    changed = _change(name, wanted)
    return _show(changed, done="joined" if join else "publications")


def _asked_for(view: preferences.View) -> list[Publication]:
    ticked = set(request.form.getlist("join"))
    return [
        found
        for found, subscription in view.rows
        if found.slug in ticked and not _is_alive(subscription)
    ]


def _change(name: str, wanted: preferences.Change) -> preferences.View:
    with database() as session:
        if wanted.join:  # a sign-up; leaving goes on whatever is wrong with the log
            checkpoint.guard(session, site().keyring)
        preferences.change(
            session,
            name,
            wanted,
            client.evidence("preferences", "/preferences/"),
            hash_key=site().settings.hash_key_bytes,
            now=now(),
        )
    keep_ledger()
    with reading() as session:
        view = preferences.look(session, name)
    assert view is not None  # noqa: S101 - preferences.change raises NotFound for an erased reader
    return view


def _mail_access(name: str, view: preferences.View) -> Response:
    with database() as session:
        preferences.send_access(
            session, name, slug=None, hash_key=site().settings.hash_key_bytes, now=now()
        )
    minutes = round(site().settings.access_minutes)
    return page("access_sent", publication=look_of(view), minutes=minutes)
