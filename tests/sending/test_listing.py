"""The list of a digest's mails."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import pytest
from mailing import approved_digest, many_readers, queue_all
from sqlalchemy import select, update

from newsletter import store
from newsletter.sending import listing


@pytest.fixture
def digest(engine, make_publication, now):
    """A digest with 2,500 queued mails: more than two pieces."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 2500, now)
        queue_all(session, digest, now)
    return digest


def addresses(engine, digest, now, state=None):
    with store.reading(engine) as session:
        found = session.get(store.Digest, digest.id)
        return [row["address"] for row in listing.deliveries(session, found, now, state)]


def test_each_mail_is_listed_once(engine, digest, now):
    """Whatever moments they are due at, and whatever states they are in."""
    everybody = [f"reader-{number}@example.net" for number in range(2500)]
    assert addresses(engine, digest, now) == everybody
    assert addresses(engine, digest, now, store.DeliveryState.QUEUED) == everybody
    assert addresses(engine, digest, now, store.DeliveryState.FAILED) == []
    with store.transaction(engine) as session:
        for number, row in enumerate(session.scalars(select(store.Delivery))):
            row.due_at = now + timedelta(seconds=number // 700 - number % 5)
            row.state = ("queued", "accepted", "deferred")[number % 3]
    assert sorted(addresses(engine, digest, now)) == sorted(everybody)
    parts = [addresses(engine, digest, now, state) for state in store.DeliveryState]
    assert sorted(each for part in parts for each in part) == sorted(everybody)


def test_a_mail_is_told_with_its_reply(engine, digest, now):
    """And its Message-ID, which the relay's own log has."""
    with store.transaction(engine) as session:
        row = session.scalars(select(store.Delivery).limit(1)).one()
        row.state, row.reason, row.attempts = "failed", "refused", 3
        row.reply_code, row.reply_text = 550, "5.1.0 no\x1b[31m"
        row.settled_at = now + timedelta(hours=1)
    with store.reading(engine) as session:
        found = session.get(store.Digest, digest.id)
        assert list(listing.deliveries(session, found, now, store.DeliveryState.FAILED)) == [
            {
                "address": row.address,
                "state": "failed",
                "reason": "refused",
                "attempts": 3,
                "reply_code": 550,
                "reply_text": "5.1.0 no\x1b[31m",
                "due_at": None,
                "settled_at": now + timedelta(hours=1),
                "retried_at": None,
                "message_id": f"<{row.public_id}@example.org>",
            }
        ]


def test_only_what_was_put_off_is_due(engine, digest, now):
    """By the relay, or in the queue until its domain's turn; of others the moment is past."""
    later = now + timedelta(minutes=5)
    with store.transaction(engine) as session:
        rows = session.scalars(select(store.Delivery).limit(9)).all()
        for row, state in zip(rows, store.DeliveryState, strict=False):
            row.state, row.due_at = state, later
        rows[8].state, rows[8].due_at = "deferred", now - timedelta(minutes=1)
    with store.reading(engine) as session:
        found = session.get(store.Digest, digest.id)
        told = list(listing.deliveries(session, found, now))
    due = {(row["address"], row["state"], row["due_at"]) for row in told if row["due_at"]}
    assert due == {
        ("reader-0@example.net", "queued", later),
        ("reader-4@example.net", "deferred", later),
        ("reader-8@example.net", "deferred", now - timedelta(minutes=1)),
    }


def test_only_its_own_mails_are_listed(engine, digest, make_publication, now):
    """Of an erased reader there is the row, without an address."""
    with store.transaction(engine) as session:
        session.execute(update(store.Delivery).values(address=None))
        other = approved_digest(session, make_publication(session, slug="other"), now)
    assert addresses(engine, other, now) == []
    assert addresses(engine, digest, now) == [None] * 2500


def test_it_is_read_in_pieces(engine, digest, now):
    """Whoever looks at the first ones only, reads no more than a thousand."""
    with store.reading(engine) as session:
        rows = listing.deliveries(session, session.get(store.Digest, digest.id), now)
        assert len(list(islice(rows, 3))) == 3
        rows.close()
