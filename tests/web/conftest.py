"""A web app on the test's database, a browser without cookies, and the links of the mails."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from newsletter import consent, store
from newsletter.links import Links
from newsletter.subscriptions import erase
from newsletter.web import create_app, make_server

if TYPE_CHECKING:
    import playwright.sync_api
    from flask import Flask
    from sqlalchemy import Engine
    from werkzeug.test import TestResponse

    from newsletter.config import Settings
    from newsletter.store import Publication, Subscription

Dump = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The limits are tested on their own; elsewhere they are out of the way."""
    return settings.model_copy(update={"signup_limit": "10000 per hour"})


class Browser(FlaskClient):
    """Reads each answer to its end, so that files are closed."""

    def open(self, *args: Any, **more: Any) -> TestResponse:
        """One request."""
        return super().open(*args, **{"buffered": True, **more})


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Flask:
    """The web app of the test's installation."""
    app = create_app(settings, engine)
    app.config["SIGNUP_ANSWER_AFTER"] = 0
    app.test_client_class = Browser
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that keeps no cookie."""
    return app.test_client(use_cookies=False)


@pytest.fixture
def publication(engine: Engine, make_publication: Callable[..., Publication]) -> Publication:
    """The publication field-notes."""
    with store.transaction(engine) as session:
        return make_publication(session)


@pytest.fixture
def dump(engine: Engine) -> Callable[[], Dump]:
    """Every row of every table."""

    def rows() -> Dump:
        found: Dump = {}
        with store.reading(engine) as session:
            for table in store.Base.metadata.sorted_tables:
                found[table.name] = sorted(
                    (tuple(row) for row in session.execute(table.select())), key=repr
                )
        return found

    return rows


@pytest.fixture
def mails(engine: Engine) -> Callable[..., list[store.Delivery]]:
    """The letters in the outbox to an address, oldest first."""

    def to(address: str, letter: str | None = None) -> list[store.Delivery]:
        with store.reading(engine) as session:
            found = session.query(store.Delivery).filter_by(address=address)
            return [
                each
                for each in found.order_by(store.Delivery.id)
                if letter is None or each.letter == letter
            ]

    return to


@pytest.fixture
def events(engine: Engine) -> Callable[[], list[dict[str, Any]]]:
    """The fields of every consent event, oldest first."""

    def all_of() -> list[dict[str, Any]]:
        with store.reading(engine) as session:
            return [entry.fields for entry in consent.entries(session)]

    return all_of


@pytest.fixture
def wording(client: FlaskClient) -> Callable[..., str]:
    """The version of the wording that the sign-up page shows."""

    def shown(slug: str = "field-notes") -> str:
        found = re.search(r'name="wording" value="(\w+)"', client.get(f"/{slug}/").text)
        assert found
        return found[1]

    return shown


@pytest.fixture
def sign_up(client: FlaskClient, wording: Callable[..., str]) -> Callable[..., TestResponse]:
    """Fill in the form and send it: `sign_up("ada@example.net", name="Ada")`."""

    def post(address: str, *, slug: str = "field-notes", **more: Any) -> TestResponse:
        headers = more.pop("headers", {})
        environ = more.pop("environ", {})
        fields = {"email": address, "consent": "yes", "wording": wording(slug), **more}
        return client.post(
            f"/{slug}/subscribe", data=fields, headers=headers, environ_overrides=environ
        )

    return post


@pytest.fixture
def path(settings: Settings) -> Callable[..., str]:
    """The path of a signed link: `path("unsubscribe", subscription.public_id)`."""
    links = Links(settings.base_url, tuple(settings.all_secret_keys))

    def of(purpose: Any, *ids: str, age: timedelta = timedelta()) -> str:
        url = links.url(purpose, *ids, at=datetime.now(UTC) - age)
        return url.removeprefix(settings.base_url)

    return of


@pytest.fixture
def confirm_path(
    mails: Callable[..., list[store.Delivery]], path: Callable[..., str]
) -> Callable[..., str]:
    """The link of the latest confirmation mail to an address."""

    def to(address: str, **how: Any) -> str:
        return path("confirm", mails(address, "confirmation")[-1].public_id, **how)

    return to


@pytest.fixture
def subscription(engine: Engine) -> Callable[..., Subscription]:
    """The subscription of an address to field-notes, as it is now."""

    def of(address: str, slug: str = "field-notes") -> Subscription:
        with store.reading(engine) as session:
            query = session.query(store.Subscription).join(store.Subscriber)
            query = query.join(store.Publication).filter(
                store.Subscriber.address == address, store.Publication.slug == slug
            )
            found = query.one()
            assert found.subscriber and found.publication
            return found

    return of


@pytest.fixture
def reader(
    engine: Engine,
    client: FlaskClient,
    publication: Publication,
    sign_up: Callable[..., TestResponse],
    confirm_path: Callable[..., str],
    subscription: Callable[..., Subscription],
) -> Subscription:
    """Ada, who signed up and confirmed."""
    assert sign_up("ada@example.net", name="Ada").status_code == 200
    assert client.post(confirm_path("ada@example.net")).status_code == 200
    return subscription("ada@example.net")


@pytest.fixture
def forget(engine: Engine, settings: Settings) -> Callable[[str], None]:
    """Erase the person with this address."""

    def person(address: str) -> None:
        with store.transaction(engine) as session:
            subscriber = session.query(store.Subscriber).filter_by(address=address).one()
            erase.forget(
                session,
                subscriber,
                consent.Evidence(actor="operator", channel="command"),
                hash_key=settings.hash_key_bytes,
                now=datetime.now(UTC),
            )

    return person


CONTENT: dict[str, Any] = {
    "version": 1,
    "subject": "High <water>",
    "preheader": "What it carried",
    "intro_html": "<p>It rained.</p>",
    "intro_text": "It rained.",
    "language": "en",
    "pieces": [
        {
            "title": "The river & us",
            "url": "https://example.org/river",
            "author": "M. Okafor",
            "published": "2026-02-27",
            "body_html": "<p>It rose.</p>",
            "image": "https://example.org/heron.jpg",
            "image_alt": "A heron",
            "tags": ["rivers"],
            "full": True,
        },
        {
            "title": "Hedges",
            "url": "https://example.org/hedges",
            "summary_html": "<p>Six of them.</p>",
            "body_html": "<p>All of it.</p>",
            "tags": [],
        },
    ],
}


@pytest.fixture
def publish(engine: Engine, publication: Publication, now: datetime) -> Callable[..., store.Digest]:
    """A digest that was sent: `publish(at=moment, subject="High water", outro_html="...")`.

    What is not named is as in CONTENT.
    """

    def make(*, at: datetime = now, to: Publication = publication, **over: Any) -> store.Digest:
        content = CONTENT | over
        with store.transaction(engine) as session:
            made = store.Digest(
                publication_id=to.id, subject=content["subject"], created_at=now, state="draft"
            )
            session.add(made)
            made.approve({"version": 2, "content": content}, at)
            made.start()
            made.queued_at = at
            made.finish(at)
        return made

    return make


@pytest.fixture
def digest(publish: Callable[..., store.Digest]) -> store.Digest:
    """A digest of field-notes that was sent."""
    return publish()


@pytest.fixture
def site(settings: Settings, engine: Engine, app: Flask) -> Iterator[str]:
    """The app on a real port; its links lead to base_url all the same."""
    server = make_server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.url
    server.close()
    thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.sync_api.Browser]:
    """Chromium. Not for the whole run: its event loop would be in other tests' way."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as running:
        found = running.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()
