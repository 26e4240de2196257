"""Unsubscribing: by button and by RFC 8058's one click, always kindly, never redirected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import store

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
KINDS = ["application/x-www-form-urlencoded", "multipart/form-data"]


@pytest.fixture
def link(reader: store.Subscription, path: Callable[..., str]) -> str:
    """The link in every mail to Ada."""
    return path("unsubscribe", reader.public_id)


def test_looking_shows_one_button(client: FlaskClient, link: str, subscription: Any) -> None:
    """GET asks, and does nothing."""
    page = client.get(link)
    assert page.status_code == 200
    assert page.text.count("<button") == 1
    assert page.text.count("<form") == 1
    assert "ada@example.net" in page.text
    assert subscription("ada@example.net").state == "confirmed"


def test_the_button_leaves_at_once(
    client: FlaskClient, link: str, subscription: Any, events: Any
) -> None:
    """One POST without any field is enough; the page after it offers the way back."""
    answer = client.post(link)
    assert answer.status_code == 200
    assert 'href="/field-notes/">Sign up again' in answer.text
    assert subscription("ada@example.net").state == "unsubscribed"
    assert events()[-1]["type"] == "withdrawn"
    assert events()[-1]["channel"] == "link"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["confirmed", "left", "erased", "very old link"])
def test_one_click(
    client: FlaskClient,
    reader: store.Subscription,
    link: str,
    path: Callable[..., str],
    forget: Any,
    events: Any,
    engine: Engine,
    kind: str,
    state: str,
) -> None:
    """RFC 8058 §3: 200, no redirect, no cookie, however encoded, however often, even erased."""
    if state == "left":
        client.post(link)
    elif state == "erased":
        forget("ada@example.net")
    elif state == "very old link":
        link = path("unsubscribe", reader.public_id, age=timedelta(days=4000))
    for _ in range(2):
        answer = client.post(link, data=ONE_CLICK, content_type=kind)
        assert answer.status_code == 200
        assert "Location" not in answer.headers
        assert "Set-Cookie" not in answer.headers
    with store.reading(engine) as session:
        states = {each.state for each in session.query(store.Subscription)}
    assert states == (set() if state == "erased" else {"unsubscribed"})
    if state in ("confirmed", "very old link"):
        withdrawn = [event for event in events() if event.get("type") == "withdrawn"]
        assert [event["channel"] for event in withdrawn] == ["one-click"]


@pytest.mark.parametrize(
    "body",
    [
        {"data": b"List-Unsubscribe=One-Click"},
        {"data": b"", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"not a form at all", "content_type": "text/plain"},
        {"data": b"--nope", "content_type": "multipart/form-data; boundary=other"},
        {"data": b"x", "content_type": "multipart/form-data"},
        {"data": b"\xff\xfe=%zz&List-Unsubscribe", "content_type": KINDS[0]},
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_clumsy_mail_program_is_understood(
    client: FlaskClient, link: str, subscription: Any, body: dict[str, Any]
) -> None:
    """The link says all that is needed: whatever the body is, the reader leaves."""
    assert client.post(link, **body).status_code == 200
    assert subscription("ada@example.net").state == "unsubscribed"


def test_a_forged_link_is_refused(
    client: FlaskClient, link: str, path: Callable[..., str], reader: Any, dump: Any
) -> None:
    """4xx, never 3xx, and nobody leaves."""
    token = link.removeprefix("/unsubscribe/")
    before = dump()
    other = path("preferences", reader.public_id).removeprefix("/preferences/")
    swapped = [
        token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        for at in range(0, len(token) - 1, 3)
    ]
    for each in [*swapped, other, token[:-3], "x"]:
        answer = client.post(f"/unsubscribe/{each}", data=ONE_CLICK)
        assert 400 <= answer.status_code < 500
        assert "Location" not in answer.headers
    assert dump() == before


def test_only_the_named_reader_leaves(
    client: FlaskClient, link: str, sign_up: Any, confirm_path: Any, subscription: Any
) -> None:
    """One person's link is another's no business, whatever else the body says."""
    sign_up("bob@example.net")
    client.post(confirm_path("bob@example.net"))
    client.post(link, data={"email": "bob@example.net", "subscription": "2"})
    assert subscription("bob@example.net").state == "confirmed"
    assert subscription("ada@example.net").state == "unsubscribed"


def test_a_waiting_sign_up_can_be_left_too(
    client: FlaskClient, sign_up: Any, publication: Any, path: Any, subscription: Any
) -> None:
    """Who never confirmed can still say no."""
    sign_up("ada@example.net")
    client.post(path("unsubscribe", subscription("ada@example.net").public_id))
    assert subscription("ada@example.net").state == "unsubscribed"
