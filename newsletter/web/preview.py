"""The preview of one digest: a small app of its own, for an operator's browser on this machine.

It listens on loopback alone, and below a token that nobody can guess; it changes nothing. The
letter stands in a frame with a sandbox and a policy under which nothing runs, whatever an article
or a template holds. The page around it works without its one script, which only looks whether the
letter has changed.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import cast

from flask import Flask, Response, abort, current_app, make_response, render_template, request
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from newsletter import addresses, store
from newsletter.config import Settings
from newsletter.consent import checkpoint
from newsletter.digests import check, preview
from newsletter.digests.check import Built, Finding
from newsletter.errors import BadInput, NewsletterError, NotFound
from newsletter.mail.letters import of_files
from newsletter.resources import resource_dir
from newsletter.sending import specimen
from newsletter.sending.origin import Origin
from newsletter.store import Digest, Publication, Subscriber, Subscription
from newsletter.web import preview_choice, preview_letter
from newsletter.web.preview_changes import mark
from newsletter.web.preview_choice import Choice

_NAME = "newsletter-preview"
_KEPT = 24
_PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# What readers' names and addresses do to a letter: nothing there, and more than anybody expects.
_READERS: dict[str, tuple[str | None, str]] = {
    "named": (specimen.NAME, specimen.ADDRESS),
    "unnamed": (None, specimen.ADDRESS),
    "long": (
        "Wolfeschlegelsteinhausenbergerdorff Adolph Blaine Charles David Earl Frederick Gerald",
        f"{'somebody.with.a.very.long.address' * 2}@{'a-long-name.' * 6}example.org",
    ),
}


@dataclass(frozen=True)
class Shown:
    """A mail of the digest, taken apart. raw: as it would be sent, unsigned. note: what to know."""

    raw: bytes
    built: Built
    findings: list[Finding]
    note: str


@dataclass
class Desk:
    """What the views of one preview share."""

    settings: Settings
    engine: Engine
    digest_id: int
    token: str
    kept: OrderedDict[tuple[str, str, str], Shown]
    lock: threading.Lock


def create_app(
    settings: Settings, engine: Engine, digest_id: int, *, token: str | None = None
) -> Flask:
    """The app that shows this digest, below /<token>/; None draws one of 128 random bits."""
    token = token or secrets.token_urlsafe(16)
    app = Flask(
        "newsletter.web",
        template_folder=str(resource_dir("templates") / "preview"),
        static_folder="static/preview",
        static_url_path=f"/{token}/static",
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions[_NAME] = Desk(
        settings, engine, digest_id, token, OrderedDict(), threading.Lock()
    )
    app.add_url_rule(f"/{token}/", "page", page)
    app.add_url_rule(f"/{token}/letter", "letter", letter)
    app.add_url_rule(f"/{token}/mark", "changed", changed)
    app.register_error_handler(NewsletterError, _fault)
    app.before_request(_from_this_machine)
    app.after_request(_protect)
    return app


def address_of(app: Flask, base: str) -> str:
    """Where the preview is. base: where its server listens, without a slash at the end."""
    return f"{base}/{cast(Desk, app.extensions[_NAME]).token}/"


def page() -> Response:
    """The switches, and what they choose."""
    with store.reading(_desk().engine) as session:
        digest = _digest(session)
        choice, now = _choice(digest), _mark(digest)
        try:
            shown, problem = _show(session, digest, choice, now), None
        except NewsletterError as error:
            # A template is being written: the page waits until it is right again.
            shown, problem = None, str(error)
        text = render_template(
            "page.html",
            digest=digest,
            publication=digest.publication,
            choice=choice,
            words=preview_choice,
            themes=[("", "Its own"), *((name, name.capitalize()) for name in _themes(digest))],
            shown=shown,
            problem=problem,
            mark=now,
            sandbox=preview_letter.SANDBOX,
            headers=_fields(shown.raw) if shown else [],
            errors=_count(shown, check.Level.ERROR),
            warnings=_count(shown, check.Level.WARNING),
        )
    return make_response(text)


def letter() -> Response:
    """The letter alone, for the frame."""
    with store.reading(_desk().engine) as session:
        digest = _digest(session)
        choice = _choice(digest)
        try:
            html = _show(session, digest, choice, _mark(digest)).built.html
        except NewsletterError as error:
            return _fault(error)
    response = make_response(preview_letter.in_scheme(html, choice.scheme))
    response.headers["Content-Security-Policy"] = preview_letter.policy(pictures=choice.pictures)
    return response


def changed() -> Response:
    """The mark of what there is to see now."""
    with store.reading(_desk().engine) as session:
        response = make_response(_mark(_digest(session)))
    response.mimetype = "text/plain"
    return response


def _desk() -> Desk:
    return cast(Desk, current_app.extensions[_NAME])


def _digest(session: Session) -> Digest:
    found = session.get(Digest, _desk().digest_id)
    if found is None:
        raise NotFound(f"There is no digest {_desk().digest_id} any more.")
    return found


def _mark(digest: Digest) -> str:
    return mark(digest, _desk().settings.templates_folder)


def _themes(digest: Digest) -> list[str]:
    return of_files(digest.publication.language, _desk().settings.templates_folder).themes()


def _choice(digest: Digest) -> Choice:
    return Choice.of(request.args, _themes(digest))


def _show(session: Session, digest: Digest, choice: Choice, now: str) -> Shown:
    """The mail that is chosen; made once, as long as nothing changes.

    Raises one of our errors when it cannot be made.
    """
    desk, key = _desk(), (now, choice.theme, choice.reader)
    with desk.lock:
        if key not in desk.kept:
            desk.kept[key] = _make(session, digest, choice)
            while len(desk.kept) > _KEPT:
                desk.kept.popitem(last=False)
        return desk.kept[key]


def _make(session: Session, digest: Digest, choice: Choice) -> Shown:
    settings = _desk().settings
    frozen = preview.frozen(
        session,
        digest,
        base_url=settings.base_url,
        checkpoint=checkpoint.newest(session),
        templates_folder=settings.templates_folder,
        theme=choice.theme or None,
    )
    name, address, note = _reader(session, digest.publication, choice.reader)
    raw = specimen.mail(
        digest,
        frozen,
        Origin.of(settings),
        at=datetime.now(UTC),
        name=name,
        address=address,
    )
    built = check.read(raw)
    found = check.check(built, check.Facts.of(digest, settings.base_url))
    return Shown(raw, built, found, note)


def _reader(session: Session, publication: Publication, wanted: str) -> tuple[str | None, str, str]:
    """Name and address of the reader who is chosen, and what to say about them."""
    if wanted in _READERS:
        return *_READERS[wanted], ""
    try:
        address = addresses.parse(wanted)
    except BadInput as error:
        return *_READERS["named"], f"{wanted}: {error}"
    query = (
        select(Subscriber)
        .join(Subscription)
        .where(Subscriber.address_key == address.key, Subscription.publication_id == publication.id)
    )
    found = session.scalars(query).one_or_none()
    if found is None:
        return None, address.spelling, f"{address.spelling} is not on the list."
    return found.name, found.address, ""


def _fields(raw: bytes) -> list[tuple[str, str]]:
    return [
        (name, str(value)) for name, value in message_from_bytes(raw, policy=policy.default).items()
    ]


def _count(shown: Shown | None, level: check.Level) -> int:
    return sum(each.rule.level == level for each in shown.findings) if shown else 0


def _fault(error: NewsletterError) -> Response:
    response = make_response(str(error), 404 if isinstance(error, NotFound) else 500)
    response.mimetype = "text/plain"
    return response


def _from_this_machine() -> None:
    """Another site's name that was made to mean this machine gets nothing (DNS rebinding)."""
    host = request.host.rpartition(":")[0] or request.host
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        abort(400)


def _protect(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    return response
