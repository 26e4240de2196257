"""Preferences: what the link in a digest opens, and what it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store


@pytest.fixture
def link(reader: store.Subscription, path: Callable[..., str]) -> str:
    """The preferences link in every digest to Ada."""
    return path("preferences", reader.subscriber.public_id)


@pytest.fixture
def other(engine: Engine, publication: Any, make_publication: Any) -> store.Publication:
    """A second publication, which Ada does not get."""
    with store.transaction(engine) as session:
        return make_publication(session, slug="night-sky", title="The Night Sky")


def _version(page: str, slug: str) -> str:
    found = re.search(rf'name="wording-{slug}" value="(\w+)"', page)
    assert found
    return found[1]


def test_the_page_tells_no_more_than_a_digest(
    client: FlaskClient, link: str, reader: store.Subscription
) -> None:
    """A forwarded digest opens name, language and publications; no history, no data."""
    page = client.get(link)
    assert page.status_code == 200
    assert 'value="Ada"' in page.text
    assert 'name="keep" type="checkbox" value="field-notes" checked' in page.text
    assert "127.0.0" not in page.text
    assert "/access/" not in page.text
    assert "data.json" not in page.text


def test_name_and_language_can_be_changed(
    client: FlaskClient, link: str, subscription: Any, events: Any
) -> None:
    """The change is kept, reported, and recorded; the subscription stays."""
    form = {"action": "details", "name": " Ada\nLovelace ", "language": "en"}
    answer = client.post(link, data=form)
    assert answer.status_code == 200
    assert "Saved." in answer.text
    assert 'value="Ada Lovelace"' in answer.text
    assert subscription("ada@example.net").subscriber.name == "Ada Lovelace"
    assert subscription("ada@example.net").state == "confirmed"
    assert events()[-1]["type"] == "preferences"
    client.post(link, data={**form, "name": ""})
    assert subscription("ada@example.net").subscriber.name is None


def test_a_bad_name_or_language_comes_back(client: FlaskClient, link: str, dump: Any) -> None:
    """422 with the error beside its field; nothing changes."""
    before = dump()
    for name, language, field in (("x" * 201, "en", "name"), ("Ada", "tlh", "language")):
        form = {"action": "details", "name": name, "language": language}
        answer = client.post(link, data=form)
        assert answer.status_code == 422
        assert f'id="{field}-fault"' in answer.text
        assert f'aria-describedby="{field}-fault' in answer.text
    assert client.post(link).status_code == 422
    assert client.post(link, data={"action": "nonsense"}).status_code == 422
    assert dump() == before


def test_unticking_leaves_at_once(
    client: FlaskClient, link: str, subscription: Any, events: Any
) -> None:
    """A publication that was shown and comes back unticked is left."""
    answer = client.post(link, data={"action": "publications", "shown": "field-notes"})
    assert answer.status_code == 200
    assert subscription("ada@example.net").state == "unsubscribed"
    assert events()[-1]["type"] == "withdrawn"
    assert events()[-1]["channel"] == "preferences"


def test_what_was_not_shown_is_not_left(client: FlaskClient, link: str, subscription: Any) -> None:
    """A page from before a sign-up does not end that sign-up."""
    client.post(link, data={"action": "publications"})
    assert subscription("ada@example.net").state == "confirmed"


def test_joining_goes_through_a_confirmation_mail(
    client: FlaskClient, link: str, other: Any, subscription: Any, engine: Engine, mails: Any
) -> None:
    """Ticking another publication's wording asks for it, with a mail to the reader's mailbox."""
    page = client.get(link).text
    assert "email updates from The Night Sky" in page
    with store.transaction(engine) as session:
        session.query(store.LetterQuota).delete()
    form = {
        "action": "publications",
        "shown": "field-notes",
        "keep": "field-notes",
        "join": "night-sky",
        "wording-night-sky": _version(page, "night-sky"),
    }
    answer = client.post(link, data=form)
    assert answer.status_code == 200
    assert "follow the link in the mail" in answer.text
    assert subscription("ada@example.net", "night-sky").state == "pending"
    assert subscription("ada@example.net").state == "confirmed"
    assert len(mails("ada@example.net", "confirmation")) == 2


def test_joining_under_an_old_wording_is_asked_again(
    client: FlaskClient, link: str, other: Any, dump: Any
) -> None:
    """Unknown words are nobody's consent."""
    before = dump()
    for version in ({}, {"wording-night-sky": "0" * 16}):
        form = {"action": "publications", "keep": "field-notes", "join": "night-sky", **version}
        answer = client.post(link, data=form)
        assert answer.status_code == 422
        assert "has changed since" in answer.text
    assert dump() == before


def test_the_private_link_goes_to_the_mailbox_only(
    client: FlaskClient, link: str, mails: Any
) -> None:
    """The button queues one mail; the page says so, and never shows the link itself."""
    first = client.post(link, data={"action": "access"})
    second = client.post(link, data={"action": "access"})
    assert first.status_code == 200
    assert first.data == second.data
    assert "60 minutes" in first.text
    assert "/access/" not in first.text
    assert len(mails("ada@example.net", "access")) == 1


def test_the_link_of_somebody_erased(client: FlaskClient, link: str, forget: Any) -> None:
    """A kind page, whatever is pressed."""
    forget("ada@example.net")
    for answer in (
        client.get(link),
        client.post(link, data={"action": "access"}),
        client.post(link, data={"action": "details", "name": "x", "language": "en"}),
    ):
        assert answer.status_code == 410
        assert "<h1>Nothing is kept of you</h1>" in answer.text


def test_one_readers_link_changes_nobody_else(
    client: FlaskClient, link: str, sign_up: Any, confirm_path: Any, subscription: Any
) -> None:
    """No field names a person: the link alone does."""
    sign_up("bob@example.net", name="Bob")
    client.post(confirm_path("bob@example.net"))
    bob = subscription("bob@example.net").subscriber.public_id
    form = {"action": "details", "name": "Changed", "language": "en"}
    client.post(link, data={**form, "subscriber": bob, "email": "bob@example.net", "id": "2"})
    assert subscription("bob@example.net").subscriber.name == "Bob"


def test_other_links_do_not_open_it(
    client: FlaskClient, link: str, reader: store.Subscription, path: Callable[..., str]
) -> None:
    """Each purpose has links of its own: none opens another's page."""
    names = {
        "confirm": reader.subscriber.public_id,
        "unsubscribe": reader.subscriber.public_id,
        "preferences": reader.subscriber.public_id,
        "access": reader.subscriber.public_id,
    }
    for made_for, name in names.items():
        token = path(made_for, name).split("/")[-1]
        for used_for in names:
            answer = client.get(f"/{used_for}/{token}")
            if used_for != made_for:
                assert answer.status_code == 404
