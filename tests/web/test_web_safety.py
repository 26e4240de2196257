"""What holds for every route: looking changes nothing, headers protect, no cookie is ever set."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store
from newsletter.config import Settings
from newsletter.consent import Keyring, checkpoint
from newsletter.subscriptions.publications import RESERVED_SLUGS
from newsletter.web.app import reserved_slugs


@pytest.fixture
def addresses(
    app: Flask,
    engine: Engine,
    settings: Settings,
    reader: store.Subscription,
    digest: store.Digest,
    sign_up: Callable[..., object],
    confirm_path: Callable[..., str],
    path: Callable[..., str],
) -> list[str]:
    """Every route of the app with real values, links that work among them."""
    sign_up("waiting@example.net")
    keyring = Keyring.of(settings)
    keyring.create(settings.log_origin)
    with store.transaction(engine) as session:
        checkpoint.sign(session, keyring, now=datetime.now(UTC))
    values = {
        "slug": "field-notes",
        "log": "1",
        "tile": "0/000.p/3",
        "name": digest.public_id,
        "filename": "style.css",
        "confirm": confirm_path("waiting@example.net").split("/")[-1],
        "unsubscribe": path("unsubscribe", reader.public_id).split("/")[-1],
        "preferences": path("preferences", reader.subscriber.public_id).split("/")[-1],
        "access": path("access", reader.subscriber.public_id).split("/")[-1],
        "access_data": path("access", reader.subscriber.public_id).split("/")[-1],
    }
    found = []
    for rule in app.url_map.iter_rules():
        chosen = {
            name: values[rule.endpoint if name == "link" else name] for name in rule.arguments
        }
        with app.test_request_context():
            found.append(app.url_for(rule.endpoint, **chosen))
    return sorted(set(found))


def test_looking_changes_nothing(
    client: FlaskClient, addresses: list[str], dump: Callable[[], object]
) -> None:
    """GET, HEAD and OPTIONS leave every row of every table as it was, on every route."""
    before = dump()
    for address in addresses:
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = client.open(address, method=method)
            assert answer.status_code in (200, 204), (method, address)
    assert dump() == before


def test_links_that_have_had_their_day_change_nothing_when_looked_at(
    client: FlaskClient,
    reader: store.Subscription,
    confirm_path: Callable[..., str],
    path: Callable[..., str],
    dump: Callable[[], object],
) -> None:
    """Old, foreign and ended links too are safe to look at."""
    from datetime import timedelta

    old = timedelta(days=400)
    before = dump()
    for address in (
        confirm_path("ada@example.net"),
        confirm_path("ada@example.net", age=old),
        path("access", reader.subscriber.public_id, age=old),
        path("confirm", "0" * 20),
        path("unsubscribe", "0" * 20),
        path("preferences", "0" * 20),
        path("access", "0" * 20),
        "/confirm/nonsense",
    ):
        for method in ("GET", "HEAD", "OPTIONS"):
            assert client.open(address, method=method).status_code < 500
    assert dump() == before


def test_every_answer_is_protected(client: FlaskClient, addresses: list[str]) -> None:
    """Pages, files and errors all carry the headers; none allows a script or a frame."""
    for address in [*addresses, "/no/such/page", "/confirm/nonsense", "/field-notes"]:
        for method in ("GET", "POST"):
            headers = client.open(address, method=method).headers
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'")
            assert "script-src" not in policy
            assert "unsafe" not in policy
            assert "base-uri 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "form-action 'self'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            # A letter that shows our pictures is read on another site.
            is_picture = headers["Content-Type"].startswith("image/")
            wanted = "cross-origin" if is_picture else "same-origin"
            assert headers["Cross-Origin-Resource-Policy"] == wanted
            assert "geolocation=()" in headers["Permissions-Policy"]
            assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_only_the_archive_allows_foreign_pictures(
    client: FlaskClient, addresses: list[str]
) -> None:
    """Articles bring pictures from elsewhere; no other page needs them."""
    for address in addresses:
        policy = client.get(address).headers["Content-Security-Policy"]
        is_digest = re.search("/archive/.", address) is not None
        assert ("https:" in policy.partition("img-src")[2].partition(";")[0]) == is_digest


def test_link_pages_are_kept_to_their_reader(client: FlaskClient, addresses: list[str]) -> None:
    """Nothing stores a page behind a link, and no search engine lists it."""
    linked = [a for a in addresses if a.split("/")[1] in RESERVED_SLUGS - {"static", "healthz"}]
    assert len(linked) == 5
    for address in linked:
        for method in ("GET", "POST", "HEAD"):
            headers = client.open(address, method=method).headers
            assert headers["Cache-Control"] == "no-store"
            assert "noindex" in headers["X-Robots-Tag"]


def test_no_cookie_is_ever_set(client: FlaskClient, addresses: list[str]) -> None:
    """There is no session, so there is nothing to steal and nothing to ask consent for."""
    for address in [*addresses, "/no/such/page"]:
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            assert "Set-Cookie" not in client.open(address, method=method).headers


def test_pages_have_no_inline_script_or_style(client: FlaskClient, addresses: list[str]) -> None:
    """The policy would refuse them; so none is written, but in the form to paste elsewhere."""
    for address in addresses:
        answer = client.get(address)
        if answer.mimetype != "text/html":
            continue
        text = re.sub(r"(?s)<textarea.*?</textarea>", "", answer.text)
        # What search engines read is data, which no browser runs.
        text = text.replace('<script type="application/ld+json">', "")
        assert "<script" not in text
        assert "<style" not in text
        assert " style=" not in text
        assert not re.search(r"<[^>]* on\w+=", text)


def test_pages_can_be_read_by_everybody(client: FlaskClient, addresses: list[str]) -> None:
    """Each page names its language, has a title, one h1, a main part and a way to skip to it."""
    for address in addresses:
        answer = client.get(address)
        if answer.mimetype != "text/html":
            continue
        assert '<html lang="en" dir="ltr">' in answer.text
        assert re.search("<title>[^<]+</title>", answer.text)
        assert len(re.findall("<h1", answer.text)) == 1
        assert '<a class="skip" href="#main">' in answer.text
        assert '<main id="main"' in answer.text
        fields = re.findall(r"<(?:input|select|textarea)[^>]*>", answer.text)
        for field in fields:
            if 'type="hidden"' not in field:
                name = re.search(r' id="([^"]+)"', field)
                assert name, field
                assert f'for="{name[1]}"' in answer.text
        ids = re.findall(r' id="([^"]+)"', answer.text)
        assert len(ids) == len(set(ids)), address


def test_no_slug_hides_behind_a_route(app: Flask) -> None:
    """A publication cannot have the name of one of the service's own routes."""
    assert reserved_slugs(app) == {
        "access", "confirm", "healthz", "preferences", "static", "unsubscribe",
    }  # fmt: skip
    assert reserved_slugs(app) <= RESERVED_SLUGS


def test_a_redirect_stays_here(client: FlaskClient, publication: store.Publication) -> None:
    """What stands in the Host header comes back neither in the address nor in the body."""
    answer = client.get("/field-notes", headers={"Host": "evil.example"})
    assert answer.status_code == 308
    assert answer.headers["Location"] == "/field-notes/"
    assert "evil" not in answer.text
    for path in ("//evil.example", "//evil.example/", "/\\evil.example/"):
        location = client.get(path).headers.get("Location", "/")
        assert location.startswith("/") and not location.startswith(("//", "/\\"))


def test_plain_http_promises_no_tls(settings, engine, publication) -> None:
    """HSTS is only sent where the service is served over TLS."""
    from newsletter.web import create_app

    plain = settings.model_copy(update={"base_url": "http://127.0.0.1:8000"})
    answer = create_app(plain, engine).test_client().get("/")
    assert "Strict-Transport-Security" not in answer.headers
