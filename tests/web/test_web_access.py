"""One's own data: the history in words, everything as a file, and being forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from newsletter import consent, store
from newsletter.consent.receipt import verify_receipt


@pytest.fixture
def link(reader: store.Subscription, path: Callable[..., str]) -> str:
    """The link that was mailed to Ada."""
    return path("access", reader.subscriber.public_id)


def test_the_history_is_told_in_words(client: FlaskClient, link: str) -> None:
    """What was declared, when, through what, and under which words."""
    text = client.get(link).text
    assert "You asked for Field Notes" in text
    assert "through the sign-up form" in text
    assert "I have read and agree to the Privacy Policy" in text
    assert "You ticked the box beside this text." in text
    assert "You confirmed Field Notes" in text
    assert "through the link in a mail" in text
    assert " UTC</time>" in text


def test_every_kind_of_event_has_its_words(
    client: FlaskClient, engine: Engine, link: str, reader: store.Subscription, now: Any
) -> None:
    """No event type or channel shows as a bare code."""
    about_nobody = (consent.EventType.ERASED, consent.EventType.RECOVERED)
    channels = ("form", "link", "one-click", "preferences", "command", "import", "bounce")
    with store.transaction(engine) as session:
        mine = session.get(store.Subscription, reader.id)
        assert mine
        for kind in consent.EventType:
            for channel in (*channels, "schedule"):
                evidence = consent.Evidence(
                    actor="operator", channel=channel, source="<b>a list</b>"
                )
                if kind not in about_nobody:
                    consent.record(session, kind, mine, evidence, now=now)
    text = client.get(link).text
    for kind in consent.EventType:
        assert f"<h3>{kind}" not in text
    assert "<b>a list</b>" not in text


def test_everything_can_be_taken_along(client: FlaskClient, link: str) -> None:
    """A JSON file to save, never stored on the way."""
    answer = client.get(f"{link}/data.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Cache-Control"] == "no-store"
    kept = json.loads(answer.data)
    assert kept["subscriber"]["address"] == "ada@example.net"
    assert [event["type"] for event in kept["consent_events"]] == ["requested", "confirmed"]


@pytest.fixture
def keyring(settings: Any) -> consent.Keyring:
    """The log's key, as init makes it."""
    made = consent.Keyring.of(settings)
    made.create(settings.log_origin)
    return made


def test_the_proof_can_be_taken_along(
    client: FlaskClient, keyring: consent.Keyring, link: str, sign_up: Any, events: Any
) -> None:
    """A file that verifies without us, and the same to read; both name only this reader."""
    sign_up("bob@example.net")
    page = client.get(link).text
    for action in ("receipt", "receipt-page"):
        assert f'name="action" value="{action}"' in page
    answer = client.post(link, data={"action": "receipt"})
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Cache-Control"] == "no-store"
    made = verify_receipt.verify(answer.data, [keyring.signer.verifier.vkey])
    assert made["newsletter"]["agreements"][0]["state"] == "confirmed"
    assert b"bob@example.net" not in answer.data
    answer = client.post(link, data={"action": "receipt-page"})
    assert answer.mimetype == "text/html"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "I have read and agree to the Privacy Policy" in answer.text
    assert len(events()) == 3


def test_the_proof_needs_a_log_that_was_not_changed(
    client: FlaskClient, engine: Engine, keyring: consent.Keyring, link: str
) -> None:
    """When the log is not the one that was signed for, nothing is handed out."""
    assert client.post(link, data={"action": "receipt"}).status_code == 200
    with store.transaction(engine) as session:
        row = session.get(store.ConsentEvent, 1)
        assert row and row.body
        row.body = row.body.replace(b'"link"', b'"form"')
    answer = client.post(link, data={"action": "receipt"})
    assert answer.status_code >= 500
    assert "ada@" not in answer.text


def test_the_link_is_good_for_an_hour(
    client: FlaskClient, reader: store.Subscription, path: Callable[..., str], mails: Any, dump: Any
) -> None:
    """Then it opens nothing but a button for a fresh one."""
    old = path("access", reader.subscriber.public_id, age=timedelta(minutes=61))
    before = dump()
    for answer in (
        client.get(old),
        client.get(f"{old}/data.json"),
        client.post(old, data={"action": "forget", "sure": "yes"}),
        client.post(old, data={"action": "receipt"}),
        client.post(old, data={"action": "receipt-page"}),
    ):
        assert answer.status_code == 410
        assert "ada@example.net" not in answer.text
        assert f'action="{old}"' in answer.text
    assert dump() == before
    assert client.post(old, data={"action": "again"}).status_code == 200
    assert len(mails("ada@example.net", "access")) == 1


def test_forgetting_asks_first(client: FlaskClient, link: str, dump: Any) -> None:
    """Without the ticked box nothing is destroyed."""
    before = dump()
    answer = client.post(link, data={"action": "forget"})
    assert answer.status_code == 422
    assert 'id="sure-fault"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert client.post(link, data={}).status_code == 200
    assert dump() == before


def test_being_forgotten(
    client: FlaskClient, engine: Engine, link: str, tmp_path: Path, dump: Any, sign_up: Any
) -> None:
    """Nothing that tells who it was is left, in no row and in no file; the log still verifies."""
    answer = client.post(link, data={"action": "forget", "sure": "yes"})
    assert answer.status_code == 200
    assert "<h1>You have been forgotten</h1>" in answer.text
    assert "ada@" not in repr(dump()).lower()
    for file in tmp_path.glob("newsletter.db*"):
        assert b"ada@example" not in file.read_bytes().lower()
    with store.reading(engine) as session:
        assert consent.verify(session).erased == 2
    for again in (
        client.get(link),
        client.get(f"{link}/data.json"),
        client.post(link, data={"action": "forget", "sure": "yes"}),
        client.post(link, data={"action": "again"}),
    ):
        assert again.status_code in (200, 410)
    assert sign_up("ada@example.net").status_code == 200


def test_only_a_fresh_link_of_this_purpose_opens_it(
    client: FlaskClient, reader: store.Subscription, path: Callable[..., str]
) -> None:
    """The link that a forwarded digest has does not."""
    for purpose in ("preferences", "confirm", "unsubscribe"):
        token = path(purpose, reader.subscriber.public_id).split("/")[-1]
        assert client.get(f"/access/{token}").status_code == 404
        assert client.get(f"/access/{token}/data.json").status_code == 404
        post = client.post(f"/access/{token}", data={"action": "forget", "sure": "yes"})
        assert post.status_code == 404
