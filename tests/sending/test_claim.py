"""Claims: one worker a row, fenced by its epoch."""

from __future__ import annotations

from datetime import timedelta

import pytest
from mailing import approved_digest, many_readers, queue_all, states, worker
from sqlalchemy import delete, select, text, update

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
    return claim.digest(session, digest.id, owner, limit=limit, now=now)


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
        assert (row.owner, row.epoch) == ("me", 1)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_workers_do_not_wait_for_each_other(engine, digest, now):
    """Rows that another worker is claiming at this moment are stepped over."""
    with store.transaction(engine) as one, store.transaction(engine) as other:
        first = take(one, digest, now)
        second = take(other, digest, now)
    assert len(first) == 20
    assert {held.id for held in first}.isdisjoint(held.id for held in second)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_claim_costs_the_same_among_many(engine, make_publication, now):
    """It reads what it takes, also while PostgreSQL believes that nothing is queued any more.

    Such are its statistics of the moment when the digest before was through.
    """
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, 2000, now)
        queue_all(session, approved_digest(session, publication, now), now)
        session.execute(update(store.Delivery).values(state="accepted"))
        session.execute(text("ANALYZE"))
    with store.transaction(engine) as session:
        second = approved_digest(session, publication, now)
        queue_all(session, second, now)
    read = text(
        "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables"
        " WHERE relname = 'delivery'"
    )
    with store.transaction(engine) as session:
        before = session.scalar(read)
        assert len(take(session, second, now)) == 20
        assert 20 <= session.scalar(read) - before < 200


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
        assert claim.waiting(session, [], now)
        held = claim.personal(session, "me", limit=20)
        assert [h.id for h in held] == [letter.id]
        assert not claim.waiting(session, [], now)
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
    with store.transaction(engine) as session:
        worker(session, now)
        held = take(session, digest, now, limit=2)
        session.execute(
            update(store.Delivery).where(store.Delivery.id == held[0].id).values(state="armed")
        )
        assert claim.reap(session, now) == 0
        worker(session, now, seconds=-1)
        assert claim.reap(session, now) == 2
        assert claim.reap(session, now) == 0
    with store.reading(engine) as session:
        armed, claimed = (session.get(store.Delivery, h.id) for h in held)
        assert (armed.state, armed.settled_at) == ("uncertain", now)
        assert (claimed.state, claimed.owner) == ("queued", None)
    with store.transaction(engine) as session:
        taken = take(session, digest, now, limit=100)
        assert held[0].id not in {h.id for h in taken}
        assert len(taken) == 29


@pytest.mark.parametrize("days", [-1, 1])
def test_a_wall_clock_that_jumps_ends_no_lease(engine, digest, now, days):
    """Nor does it make one longer: leases are of a clock that nobody sets."""
    with store.transaction(engine) as session:
        worker(session, now)
        take(session, digest, now, limit=2)
        assert claim.reap(session, now + timedelta(days=days)) == 0
        worker(session, now + timedelta(days=days), seconds=-1)
        assert claim.reap(session, now) == 2


@pytest.mark.parametrize("over", [{"lease_clock": "boot of yesterday"}, {"ended_at": True}, None])
def test_who_holds_no_lease_holds_no_row(engine, digest, now, over):
    """A worker from before the machine was started anew, one that ended, one that is not known."""
    with store.transaction(engine) as session:
        worker(session, now)
        take(session, digest, now, limit=2)
        if over is None:
            session.execute(delete(store.Worker))
        else:
            values = {name: now if value is True else value for name, value in over.items()}
            session.execute(update(store.Worker).values(**values))
        assert claim.reap(session, now) == 2


def test_a_worker_that_is_known_to_be_dead_loses_its_rows_at_once(engine, digest, now):
    """Without waiting for its lease."""
    with store.transaction(engine) as session:
        worker(session, now)
        take(session, digest, now, limit=2)
        assert claim.reap(session, now, gone=["other"]) == 0
        assert claim.reap(session, now, gone=["me"]) == 2


def test_a_worker_that_lives_keeps_its_rows(engine, digest, now):
    """A renewed lease is not over."""
    with store.transaction(engine) as session:
        worker(session, now, seconds=-1)
        take(session, digest, now, limit=1)
        worker(session, now)
        assert claim.reap(session, now) == 0


def test_only_who_wrote_no_dot_can_disarm(engine, digest, now):
    """An armed row of this claim goes back; one of an older claim is not touched."""
    with store.transaction(engine) as session:
        held = take(session, digest, now, limit=2)
        session.execute(update(store.Delivery).values(state="armed"))
        stale = [claim.Claim(held[0].id, held[0].epoch - 1)]
        assert claim.disarm(session, stale) == 0
        assert claim.disarm(session, held) == 2
        again = take(session, digest, now, limit=2)
        assert [each.epoch for each in again] == [2, 2]


def test_what_was_put_back_waits_for_its_moment(engine, digest, now):
    """It is queued, and not claimed before."""
    later = now + timedelta(seconds=30)
    with store.transaction(engine) as session:
        held = take(session, digest, now, limit=30)
        assert claim.put_back(session, [(each, later) for each in held]) == 30
        assert take(session, digest, now, limit=30) == []
        assert not claim.waiting(session, [digest.id], now)
        assert claim.waiting(session, [digest.id], later)
        assert len(take(session, digest, later, limit=30)) == 30


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
