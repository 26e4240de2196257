"""A list of some thousands, by commands alone: imported, sent, counted; nobody waits for it."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime

from commandline import Home
from sqlalchemy import Engine, select

from newsletter import addresses, config, consent, store
from newsletter.mail.sink import Sink
from newsletter.subscriptions import publications, signup

READERS = 5000
IMPORT = ("--publication", "field-notes", "--status", "confirmed", "--evidence", "paper list")


def everybody() -> list[str]:
    return [f"reader-{number}@example.net" for number in range(READERS)]


def test_thousands_get_one_mail_each(home: Home, sink: Sink) -> None:
    """Each exactly one, a second send adds none, and the counts add up to the total."""
    home.set(smtp_url=sink.url)
    home.publish()
    people = home.write("people.csv", "email\n" + "\n".join(everybody()) + "\n")
    found = home.json("subscriber", "import", people, *IMPORT)
    assert found == {"imported": READERS, "already": 0, "suppressed": 0, "invalid": 0}
    home.run("article", "add", home.write("a.md", "# Harvest\n\nWhat grew this year.\n"))
    home.run("digest", "new", "--publication", "field-notes", "--subject", "Harvest", 1)
    home.run("digest", "approve", 1)
    assert home.json("send", 1, "--dry-run")["receivers"] == READERS
    sent = home.json("send", 1)
    assert Counter(each for mail in sink.received for each in mail.recipients) == Counter(
        everybody()
    )
    assert home.json("send", 1) == sent
    assert len(sink.received) == READERS
    found = home.json("status", 1)
    assert (found["state"], found["total"]) == ("sent", READERS)
    assert sum(found["counts"].values()) == found["total"] == found["counts"]["accepted"]
    (row,) = home.json("status")["digests"]
    assert row["counts"] == found["counts"]


def test_signing_up_during_an_import(home: Home) -> None:
    """The import lets others write between its pieces: who signs up meanwhile never fails."""
    home.publish()
    people = home.write("people.csv", "email\n" + "\n".join(everybody()) + "\n")
    settings = config.load(home.file).settings
    engine = store.connect(settings.database_url)
    process = home.process("subscriber", "import", people, *IMPORT)
    made = 0
    try:
        while process.poll() is None:
            sign_up(engine, f"new-{made}@example.net", settings.hash_key_bytes)
            made += 1
            time.sleep(0.02)
        out, err = process.communicate(timeout=60)
        with store.reading(engine) as session:
            order = session.scalars(
                select(store.Subscription.state).order_by(store.Subscription.id)
            ).all()
    finally:
        engine.dispose()
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert f"imported: {READERS}" in out
    assert Counter(order) == {"confirmed": READERS, "pending": made}
    assert home.json("consent", "verify")["events"] == READERS + made


def sign_up(engine: Engine, address: str, hash_key: bytes) -> None:
    """What the form does, in a transaction of its own."""
    with store.transaction(engine) as session:
        publication = publications.find(session, "field-notes")
        signup.request(
            session,
            publication,
            signup.Signup(addresses.parse(address), None, "en"),
            consent.Evidence(
                actor="subscriber",
                channel="form",
                box_ticked=True,
                wording=consent.wording_of(publication, "en"),
            ),
            hash_key=hash_key,
            now=datetime.now(UTC),
        )
