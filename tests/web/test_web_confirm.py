"""The confirmation link: looking is free, the button confirms, and old links are harmless."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store

OLD = timedelta(days=8)


@pytest.fixture
def link(sign_up: Any, publication: store.Publication, confirm_path: Callable[..., str]) -> str:
    """The link in Ada's confirmation mail."""
    sign_up("ada@example.net", name="Ada")
    return confirm_path("ada@example.net")


def _forms(text: str) -> list[str]:
    return re.findall(r"(?s)<form.*?</form>", text)


def test_the_page_shows_what_is_confirmed(
    client: FlaskClient, link: str, subscription: Any
) -> None:
    """Publication, address, and as its first form the one button that confirms."""
    page = client.get(link)
    assert page.status_code == 200
    assert "Field Notes" in page.text
    assert "ada@example.net" in page.text
    first, second = _forms(page.text)
    assert 'value="confirm"' in first and "Yes, confirm" in first
    assert 'value="deny"' in second and "This was not me" in second
    assert subscription("ada@example.net").state == "pending"


def test_the_button_confirms_once_and_for_all(
    client: FlaskClient, link: str, subscription: Any, events: Any
) -> None:
    """Pressed again, or looked at again, it shows the same page and changes nothing."""
    answers = [client.post(link, data={"action": "confirm"}), client.post(link), client.get(link)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.data for answer in answers}) == 1
    assert "<h1>Your subscription is confirmed</h1>" in answers[0].text
    assert subscription("ada@example.net").state == "confirmed"
    assert [event["type"] for event in events()] == ["requested", "confirmed"]
    said = events()[1]
    assert said["channel"] == "link"
    assert said["form_url"] == "https://news.example.org/confirm/"


def test_not_me(
    client: FlaskClient, link: str, subscription: Any, sign_up: Any, mails: Any
) -> None:
    """The address is withdrawn, gets no further confirmation mail, and the link is dead."""
    answer = client.post(link, data={"action": "deny"})
    assert answer.status_code == 200
    assert client.post(link, data={"action": "deny"}).status_code == 200
    assert subscription("ada@example.net").state == "unsubscribed"
    assert client.post(link).status_code == 410
    sign_up("ada@example.net")
    assert len(mails("ada@example.net")) == 1
    assert subscription("ada@example.net").state == "unsubscribed"


def test_an_old_link_offers_a_new_mail(
    client: FlaskClient, link: str, confirm_path: Callable[..., str], engine: Engine, mails: Any
) -> None:
    """Too old to confirm, good enough to ask for another one, within the day's one mail."""
    old = confirm_path("ada@example.net", age=OLD)
    page = client.get(old)
    assert page.status_code == 410
    assert 'value="again"' in _forms(page.text)[0]
    assert client.post(old, data={"action": "confirm"}).status_code == 410
    first = client.post(old, data={"action": "again"})
    assert first.status_code == 200
    assert len(mails("ada@example.net")) == 1, "one was sent a moment ago"
    with store.transaction(engine) as session:
        for quota in session.query(store.LetterQuota):
            quota.last_at -= timedelta(days=2)
    second = client.post(old, data={"action": "again"})
    assert second.data == first.data
    assert len(mails("ada@example.net")) == 2
    assert client.post(confirm_path("ada@example.net")).status_code == 200


def test_an_old_link_of_a_confirmed_reader_shows_success(
    client: FlaskClient, reader: store.Subscription, confirm_path: Callable[..., str]
) -> None:
    """Who confirmed in time and comes back a month later is not frightened."""
    old = confirm_path("ada@example.net", age=OLD)
    for answer in (client.get(old), client.post(old)):
        assert answer.status_code == 200
        assert "<h1>Your subscription is confirmed</h1>" in answer.text


def test_an_old_link_cannot_undo_a_leave(
    client: FlaskClient,
    reader: store.Subscription,
    confirm_path: Callable[..., str],
    path: Callable[..., str],
    subscription: Any,
) -> None:
    """The link of the first sign-up is dead after the reader left."""
    link = confirm_path("ada@example.net")
    client.post(path("unsubscribe", reader.public_id))
    assert client.get(link).status_code == 410
    assert client.post(link).status_code == 410
    assert subscription("ada@example.net").state == "unsubscribed"


def test_the_link_of_somebody_erased_is_a_kind_page(
    client: FlaskClient, link: str, forget: Any
) -> None:
    """Nothing is known any more, and nothing breaks, whichever button is pressed."""
    forget("ada@example.net")
    assert client.get(link).status_code == 410
    assert client.post(link).status_code == 410
    assert client.post(link, data={"action": "deny"}).status_code == 200
    assert client.post(link, data={"action": "again"}).status_code == 200


def test_a_forged_link_does_nothing(
    client: FlaskClient, link: str, path: Callable[..., str], subscription: Any, dump: Any
) -> None:
    """No changed character, no other purpose's token and no other key passes: 404."""
    token = link.removeprefix("/confirm/")
    before = dump()
    swapped = [
        token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        for at in range(0, len(token), 3)
    ]
    # The last character of base64 may carry bits that mean nothing; leave that one out.
    forged = [each for each in swapped if each[:-1] != token[:-1]]
    foreign = path("unsubscribe", subscription("ada@example.net").public_id)
    forged += [foreign.removeprefix("/unsubscribe/"), token[:-4], token + "x", "x", "%00", "."]
    for each in forged:
        answer = client.post(f"/confirm/{each}")
        assert answer.status_code == 404, each
        assert "<h1>This link does not work</h1>" in answer.text
        assert client.post(f"/confirm/{each}", data={"action": "deny"}).status_code == 404
    assert dump() == before


def test_a_link_of_another_installation_does_nothing(
    client: FlaskClient, settings: Any, mails: Any, link: str, subscription: Any
) -> None:
    """Another secret key signs nothing here; an earlier one of ours still does."""
    from newsletter.links import Links

    mail = mails("ada@example.net")[0]
    theirs = Links(settings.base_url, ("x" * 40,)).token(
        "confirm", mail.public_id, at=mail.created_at
    )
    assert client.post(f"/confirm/{theirs}").status_code == 404
    assert subscription("ada@example.net").state == "pending"
