"""`newsletter deliveries`: what became of each mail, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from commandline import Home
from operating import approved, change, rows
from sqlalchemy import insert

from newsletter import store
from newsletter.mail.sink import Sink
from newsletter.store.letters import message_id

PEOPLE = ("ada@example.net", "bob@example.net", "eve@example.net")
WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "no such user\x1b[2J\u202e here"


def lines(home: Home, *words: object) -> list[dict[str, Any]]:
    """Each line of JSON that the command prints."""
    return [json.loads(line) for line in home.run(*words, "--json").stdout.splitlines()]


@pytest.fixture
def sent(either_home: Home, sink: Sink) -> Home:
    """A digest of which one mail was accepted, one failed, one was put off."""
    home = either_home
    approved(home, *PEOPLE, smtp_url=sink.url)
    home.run("send", 1)
    change(
        home,
        "bob@example.net",
        state="failed",
        reason="no-mailbox",
        reply_code=550,
        reply_text=HOSTILE,
        settled_at=WHEN,
    )
    change(home, "eve@example.net", state="deferred", due_at=WHEN, settled_at=None)
    return home


def test_what_became_of_each_mail(sent: Home) -> None:
    """Address, state, reason, tries, time and reply; nothing that the relay said moves a cursor."""
    shown = sent.run("deliveries", 1).stdout
    head, *found = shown.splitlines()
    assert head.split() == ["ADDRESS", "STATE", "REASON", "TRIES", "TIME", "REPLY"]
    assert [line.split()[:2] for line in found] == [
        ["ada@example.net", "accepted"],
        ["eve@example.net", "deferred"],
        ["bob@example.net", "failed"],
    ]
    assert "2026-03-01 12:00 UTC" in found[1]
    assert "no-mailbox" in found[2]
    assert "2026-03-01 12:00 UTC" in found[2]
    assert found[2].endswith("550 no such user[2J here")
    assert all(line.isprintable() for line in found)


def test_for_programs(sent: Home) -> None:
    """A JSON object a line, with stable keys and times in UTC."""
    ada, eve, bob = lines(sent, "deliveries", 1)
    assert {
        *("address", "state", "reason", "attempts", "reply_code", "reply_text"),
        *("due_at", "settled_at", "message_id"),
    } <= ada.keys()
    assert ada["message_id"].endswith("@example.org>")
    assert (ada["reply_code"], ada["attempts"]) == (250, 1)
    assert (bob["settled_at"], bob["reply_text"]) == ("2026-03-01T12:00:00Z", HOSTILE)
    assert [row["due_at"] for row in (ada, eve, bob)] == [None, "2026-03-01T12:00:00Z", None]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_only_those_in_one_state(sent: Home) -> None:
    """--state takes one of the eight; none found is no error."""
    assert [row["address"] for row in lines(sent, "deliveries", 1, "--state", "failed")] == [
        "bob@example.net"
    ]
    nothing = sent.run("deliveries", 1, "--state", "uncertain")
    assert (nothing.stdout, nothing.stderr) == ("", "There is no such mail.\n")
    assert lines(sent, "deliveries", 1, "--state", "uncertain") == []
    assert "queued" in sent.run("deliveries", 1, "--state", "lost", code=2).stderr
    assert "digest list" in sent.run("deliveries", 9, code=1).stderr


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_erased_reader(sent: Home) -> None:
    """Their row is counted, and says nothing about them."""
    sent.run("subscriber", "erase", "bob@example.net", "--yes")
    assert "bob" not in sent.run("deliveries", 1).stdout
    assert [row["address"] for row in lines(sent, "deliveries", 1)] == [PEOPLE[0], PEOPLE[2], None]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_any_number_of_rows(sent: Home) -> None:
    """They come as they are read: the first one is there at once, and closing early is no fault."""
    count = 10_000
    with rows(sent) as engine, store.transaction(engine) as session:
        one = session.query(store.Delivery).filter_by(address="ada@example.net").one()
        publication = session.get_one(store.Publication, one.publication_id)
        session.execute(
            insert(store.Delivery),
            [
                {
                    "public_id": (name := store.public_id()),
                    "letter": "digest",
                    "publication_id": one.publication_id,
                    "digest_id": one.digest_id,
                    "address": f"reader-{number}@example.net",
                    "message_id": message_id(name, publication),
                    "state": "queued",
                    "due_at": WHEN,
                    "created_at": WHEN,
                }
                for number in range(count)
            ],
        )
    found = lines(sent, "deliveries", 1, "--state", "queued")
    assert [row["address"] for row in found] == [f"reader-{n}@example.net" for n in range(count)]
    process = sent.process("deliveries", 1)
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith("ADDRESS")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) in (0, 1)
