"""Claims: one worker a row, fenced by its epoch."""

from __future__ import annotations

from datetime import timedelta

import pytest
from mailing import LEASE, approved_digest, many_readers, queue_all, states
from sqlalchemy import select, update

from newsletter import store
from newsletter.sending import claim
from newsletter.store.letters import new_letter


@pytest.fixture
def digest(engine, make_publication, now):
    """A digest with 30 queued mails."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 30, now)
        queue_all(session, digest, now)
    return digest


def take(session, digest, now, limit=20, owner="me"):
    return claim.digest(session, digest.id, owner, limit=limit, now=now, lease=LEASE)


def test_a_row_is_claimed_once(engine, digest, now):
    """Two workers share the rows; a third finds none. Each claim raises the epoch."""
    with store.transaction(engine) as session:
        first = take(session, digest, now)
    with store.transaction(engine) as session:
        second = take(session, digest, now)
        assert take(session, digest, now) == []
    assert (len(first), len(second)) == (20, 10)
    assert len({held.id for held in first + second}) == 30
    assert {held.epoch for held in first + second} == {1}
    with store.reading(engine) as session:
        row = session.get(store.Delivery, first[0].id)
        assert (row.owner, row.lease_until) == ("me", now + LEASE)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_workers_do_not_wait_for_each_other(engine, digest, now):
    """Rows that another worker is claiming at this moment are stepped over."""
    with store.transaction(engine) as one, store.transaction(engine) as other:
        first = take(one, digest, now)
        second = take(other, digest, now)
    assert len(first) == 20
    assert {held.id for held in first}.isdisjoint(held.id for held in second)


@pytest.mark.parametrize("state", ["paused", "cancelled", "sent"])
def test_only_a_digest_that_is_being_sent_is_claimed(engine, digest, now, state):
    """Nothing is taken from any other."""
    with store.transaction(engine) as session:
        session.execute(update(store.Digest).values(state=state))
        assert take(session, digest, now) == []


def test_a_persons_own_letters_know_no_pause(engine, digest, make_reader, now):
    """They are found among the digests, whatever state these are in."""
    with store.transaction(engine) as session:
        session.execute(update(store.Digest).values(state="paused"))
        publication = session.get(store.Publication, digest.publication_id)
        reader = make_reader(session, publication, "ada@example.net", state="pending")
        letter = new_letter(
            session, store.LetterName.CONFIRMATION, publication, reader.subscriber, reader, now=now
        )
        assert claim.waiting(session, [])
        held = claim.personal(session, "me", limit=20, now=now, lease=LEASE)
        assert [h.id for h in held] == [letter.id]
        assert not claim.waiting(session, [])
        assert claim.busy(session, [])


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_personal_letters_are_found_by_their_index(engine, digest):
    """A confirmation never waits for a walk over a million digest rows."""
    with store.reading(engine) as session:
        query = select(store.Delivery.id).where(claim.PERSONAL, store.Delivery.state == "queued")
        text = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    assert "ix_delivery_personal" in plan[0][-1]


def test_what_was_not_handed_over_is_given_back(engine, digest, now):
    """A row given back is queued, and its next claim has a higher epoch."""
    with store.transaction(engine) as session:
        held = take(session, digest, now, limit=1)
        assert claim.give_back(session, held) == 1
        again = take(session, digest, now, limit=1)
        assert (again[0].id, again[0].epoch) == (held[0].id, 2)
        assert claim.give_back(session, held) == 0


def test_a_lease_that_is_over(engine, digest, now):
    """claimed goes back to queued; armed becomes uncertain and is never sent again."""
    later = now + LEASE + timedelta(seconds=1)
    with store.transaction(engine) as session:
        held = take(session, digest, now, limit=2)
        session.execute(
            update(store.Delivery).where(store.Delivery.id == held[0].id).values(state="armed")
        )
        assert claim.reap(session, now) == 0
        assert claim.reap(session, later) == 2
        assert claim.reap(session, later) == 0
    with store.reading(engine) as session:
        armed, claimed = (session.get(store.Delivery, h.id) for h in held)
        assert (armed.state, armed.settled_at) == ("uncertain", later)
        assert (claimed.state, claimed.owner) == ("queued", None)
    with store.transaction(engine) as session:
        taken = take(session, digest, later, limit=100)
        assert held[0].id not in {h.id for h in taken}
        assert len(taken) == 29


def test_a_worker_that_lives_keeps_its_rows(engine, digest, now):
    """A renewed lease is not over."""
    later = now + LEASE + timedelta(seconds=1)
    with store.transaction(engine) as session:
        held = take(session, digest, now, limit=1)
        claim.renew(session, held, now=now + LEASE / 2, lease=LEASE)
        assert claim.reap(session, later) == 0


def test_put_off_mails_come_back_when_they_are_due(engine, digest, now):
    """Not before, and not while their digest is paused."""
    later = now + timedelta(hours=1)
    with store.transaction(engine) as session:
        session.execute(update(store.Delivery).values(state="deferred", due_at=later))
        assert claim.due(session, now) == 0
        session.execute(update(store.Digest).values(state="paused"))
        assert claim.due(session, later) == 0
        session.execute(update(store.Digest).values(state="sending"))
        assert claim.due(session, later) == 30
    assert states(engine) == {"queued": 30}


def test_what_comes_back_after_a_cancel_is_skipped(engine, digest, now):
    """A mail in flight when its digest was cancelled, and put off by the relay."""
    with store.transaction(engine) as session:
        session.execute(update(store.Delivery).values(state="deferred", due_at=now))
        assert claim.sweep(session, now) == 0
        session.execute(update(store.Digest).values(state="cancelled"))
        assert claim.sweep(session, now) == 30
    assert states(engine) == {"skipped": 30}
