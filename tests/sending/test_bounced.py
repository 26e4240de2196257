"""Which refusals say that a reader's address does not exist."""

from __future__ import annotations

from datetime import timedelta

import pytest
from mailing import approved_digest, queue_all
from sqlalchemy import select, update

from newsletter import store
from newsletter.sending import bounced
from newsletter.store.letters import new_letter

READERS = ("ada@example.net", "bob@example.net", "cyd@example.net")


@pytest.fixture
def digest(engine, make_publication, make_reader, now):
    """A digest to three readers that is being sent: the first two have no mailbox."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for address in READERS:
            make_reader(session, publication, address)
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        for row in rows(session)[:2]:
            row.state, row.reason, row.settled_at = "failed", "no-mailbox", now
    return digest


def rows(session):
    return session.scalars(select(store.Delivery).order_by(store.Delivery.id)).all()


def waiting(session, limit=10):
    session.flush()
    return bounced.waiting(session, limit=limit)


def test_readers_whose_address_does_not_exist(engine, digest):
    """They are found from the rows, whoever noted the refusal, a few at a time."""
    with store.transaction(engine) as session:
        first, second, _third = (row.id for row in rows(session))
        assert sorted(waiting(session)) == [first, second]
        assert len(waiting(session, limit=1)) == 1


@pytest.mark.parametrize("reason", ["refused", "gave-up", "unwritable"])
def test_another_failure_says_nothing_about_the_mailbox(engine, digest, reason):
    """A full mailbox, a policy, a relay that never took it."""
    with store.transaction(engine) as session:
        for row in rows(session):
            row.state, row.reason = "failed", reason
        assert waiting(session) == []


@pytest.mark.parametrize("state", ["unsubscribed", "bounced", "complained"])
def test_a_subscription_that_is_over_is_not_ended_again(engine, digest, state):
    """So that each is looked at once."""
    with store.transaction(engine) as session:
        session.execute(update(store.Subscription).values(state=state))
        assert waiting(session) == []


def test_who_asked_anew_is_a_reader_again(engine, digest, now):
    """The mailbox may be there by now; only a newer refusal says that it is not."""
    with store.transaction(engine) as session:
        later = now + timedelta(seconds=1)
        session.execute(update(store.Subscription).values(pending_since=later))
        assert waiting(session) == []
        rows(session)[0].settled_at = later
        assert waiting(session) == [rows(session)[0].id]


def test_a_digest_that_is_sent_was_looked_at(engine, digest, now):
    """It is called sent only then; a paused or a cancelled one may have been left in between."""
    with store.transaction(engine) as session:
        for state, found in (("paused", 2), ("cancelled", 2), ("sent", 0)):
            session.execute(update(store.Digest).values(state=state))
            assert len(waiting(session)) == found


def test_a_persons_own_letter_tells_it_too(engine, make_publication, make_reader, now):
    """A confirmation mail to an address that was mistyped."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "typo@example.net", state="pending")
        letter = store.LetterName.CONFIRMATION
        row = new_letter(session, letter, publication, reader.subscriber, reader, now=now)
        row.state, row.reason, row.settled_at = "failed", "no-mailbox", now
        assert waiting(session) == [row.id]
