"""What readers see and change of themselves, and being forgotten."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import select

from newsletter import addresses, consent, store
from newsletter.errors import NotFound
from newsletter.subscriptions import erase, importing, leave, preferences

HASH_KEY = b"h" * 32


@pytest.fixture
def reader(visitor):
    visitor.sign_up("ada.lovelace@example.net", name="Ada Lovelace")
    visitor.confirm(visitor.letters()[0])
    with store.reading(visitor.engine) as session:
        return session.scalars(select(store.Subscriber)).one()


def change(visitor, reader, **wanted):
    with store.transaction(visitor.engine) as session:
        values = {"name": reader.name, "language": "en", "keep": frozenset({"field-notes"})}
        return preferences.change(
            session,
            reader.public_id,
            preferences.Change(**{**values, **wanted}),
            visitor.by("preferences"),
            hash_key=HASH_KEY,
            now=visitor.now,
        )


def forget(visitor, reader):
    with store.transaction(visitor.engine) as session:
        person = session.get(store.Subscriber, reader.id)
        erase.forget(session, person, visitor.by("link"), hash_key=HASH_KEY, now=visitor.now)


def test_a_new_name_is_an_event_that_does_not_hold_it(visitor, reader):
    """The name changes; the log says that it did, and not to what."""
    change(visitor, reader, name="Augusta Ada King")
    with store.reading(visitor.engine) as session:
        assert session.scalar(select(store.Subscriber.name)) == "Augusta Ada King"
    assert visitor.events()[-1]["note"] == "changed: name"
    assert "Augusta" not in str(visitor.events())
    visitor.verify()


def test_unticking_a_publication_leaves_it_at_once(visitor, reader):
    """Leaving on the preferences page is a withdrawal like any other."""
    change(visitor, reader, keep=frozenset())
    assert visitor.state("ada.lovelace@example.net") == "unsubscribed"
    assert visitor.kinds()[-1] == "withdrawn"


def test_ticking_another_publication_asks_by_mail(visitor, reader, make_publication):
    """A forwarded link must not sign anybody up: joining is confirmed like any sign-up."""
    with store.transaction(visitor.engine) as session:
        other = make_publication(session, "night-sky", title="Night Sky")
        wording = consent.wording_of(other, "en")
    visitor.later(days=1)
    assert change(visitor, reader, join={"night-sky": wording}) == ["night-sky"]
    with store.reading(visitor.engine) as session:
        states = session.execute(
            select(store.Publication.slug, store.Subscription.state).join(
                store.Subscription, store.Subscription.publication_id == store.Publication.id
            )
        )
        assert dict(tuple(row) for row in states) == {
            "field-notes": "confirmed",
            "night-sky": "pending",
        }
    assert visitor.events()[-1]["wording"] == wording.text


def test_a_fresh_link_is_mailed_to_the_reader_once_in_a_while(visitor, reader):
    """The button cannot be used to flood the mailbox."""

    def ask():
        with store.transaction(visitor.engine) as session:
            return preferences.send_access(
                session, reader.public_id, slug="field-notes", hash_key=HASH_KEY, now=visitor.now
            )

    assert ask()
    assert not ask()
    visitor.later(hours=1)
    assert ask()
    assert [mail.address for mail in visitor.letters("access")] == [reader.address] * 2


def test_everything_shows_all_that_is_kept(visitor, reader):
    """Address, name, subscriptions, events and mails are all in the reader's copy."""
    with store.reading(visitor.engine) as session:
        copy = preferences.everything(session, reader.public_id)
        history = preferences.history(session, reader.public_id)
    assert copy["subscriber"]["name"] == "Ada Lovelace"
    assert [each["state"] for each in copy["subscriptions"]] == ["confirmed"]
    assert [each["type"] for each in copy["consent_events"]] == ["requested", "confirmed"]
    assert {each["letter"] for each in copy["mails"]} == {"confirmation", "welcome"}
    assert [entry.fields["type"] for entry in history] == ["requested", "confirmed"]


def test_who_is_forgotten_leaves_no_trace(visitor, reader, database_kind, tmp_path):
    """No table, no file holds the address, its hashes or the name; the log verifies."""
    visitor.sign_up("bob@example.net")
    forget(visitor, reader)
    assert erase.clean(visitor.engine)
    assert visitor.kinds() == [None, None, "requested", "erased"]
    assert visitor.events()[-1]["closed"] == [0, 1]
    assert visitor.verify().erased == 2
    address = b"ada.lovelace@example.net"
    traces = [b"lovelace", b"Lovelace"]
    for name in ("sha1", "sha256", "md5"):
        digest = hashlib.new(name, address)
        traces += [digest.digest(), digest.hexdigest().encode()]
    if database_kind == "sqlite":
        files = b"".join(file.read_bytes() for file in Path(tmp_path).glob("newsletter.db*"))
        assert b"bob@example.net" in files
        assert [trace for trace in traces if trace in files] == []
    with store.reading(visitor.engine) as session:
        for table in store.Base.metadata.sorted_tables:
            rows = repr(session.execute(select(table)).all()).encode()
            assert [trace for trace in traces if trace in rows] == [], table.name


def test_who_was_forgotten_is_not_imported_again(visitor, reader):
    """The keyed hash blocks the import; the person's own confirmed sign-up ends it."""
    forget(visitor, reader)

    def bring_in():
        row = importing.Row(
            2, addresses.parse("Ada.Lovelace@example.net"), None, None, None, None, None
        )
        with store.transaction(visitor.engine) as session:
            publication = session.query(store.Publication).one()
            return importing.take(
                session,
                publication,
                [row],
                status="confirmed",
                source="paper form",
                hash_key=HASH_KEY,
                now=visitor.now,
            )

    assert bring_in().suppressed == 1
    assert visitor.later(days=2).sign_up("ada.lovelace@example.net")
    visitor.confirm(visitor.letters()[-1])
    tally = bring_in()
    assert (tally.suppressed, tally.already) == (0, 1)


def test_links_of_the_forgotten_do_nothing(visitor, reader):
    """Unsubscribing is fine, seeing data is not possible, and nothing is written."""
    subscription = visitor.subscription("ada.lovelace@example.net")
    forget(visitor, reader)
    before = len(visitor.events())
    with store.transaction(visitor.engine) as session:
        evidence = visitor.by("one-click")
        left = leave.by_reader(
            session, subscription.public_id, evidence, hash_key=HASH_KEY, now=visitor.now
        )
        assert left is None
        assert preferences.look(session, reader.public_id) is None
        assert not preferences.send_access(
            session, reader.public_id, slug=None, hash_key=HASH_KEY, now=visitor.now
        )
        with pytest.raises(NotFound):
            preferences.everything(session, reader.public_id)
    assert len(visitor.events()) == before


def test_deliveries_of_the_forgotten_still_count(visitor, reader):
    """What was queued is skipped, what was sent stays sent, and neither tells for whom."""
    forget(visitor, reader)
    with store.reading(visitor.engine) as session:
        rows = session.scalars(select(store.Delivery)).all()
    assert {row.state for row in rows} == {"skipped"}
    for row in rows:
        assert (row.address, row.message_id, row.subscriber_id, row.reply_text) == (None,) * 4


@pytest.mark.parametrize("spelling", ["ZOÉLA@example.net", "zoéla+test@EXAMPLE.net"])
def test_test_mails_to_the_forgotten_are_stripped(visitor, spelling):
    """A test mail names no subscriber; whatever its spelling, the address goes with the person."""
    visitor.sign_up("Zoéla@example.net")
    with store.transaction(visitor.engine) as session:
        publication = session.query(store.Publication).one()
        session.add(
            store.Delivery(
                letter=store.LetterName.TEST,
                publication_id=publication.id,
                address=spelling,
                message_id="<x@example.org>",
                due_at=visitor.now,
                created_at=visitor.now,
            )
        )
        person = session.scalars(select(store.Subscriber)).one()
    forget(visitor, person)
    with store.reading(visitor.engine) as session:
        assert {row.address for row in session.scalars(select(store.Delivery))} == {None}
