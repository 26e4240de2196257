"""Making the rows of a digest: each confirmed reader once, whatever happens in between."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from mailing import HASH_KEY, approved_digest, many_readers, queue_all
from sqlalchemy import delete, func, select, update

from newsletter import addresses, store
from newsletter.errors import WrongState
from newsletter.sending import audience, control, queue
from newsletter.store import find


def deliveries(session) -> int:
    return session.scalar(select(func.count()).select_from(store.Delivery))


def test_each_confirmed_reader_gets_a_row(engine, make_publication, make_reader, now):
    """Readers who are not confirmed, or read something else, get none."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        other = make_publication(session, slug="other")
        make_reader(session, publication, "ada@example.net")
        make_reader(session, publication, "pending@example.net", state="pending")
        make_reader(session, publication, "gone@example.net", state="unsubscribed")
        make_reader(session, other, "bob@example.net")
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        row = session.scalars(select(store.Delivery)).one()
        assert row.address == "ada@example.net"
        assert row.state == "queued"
        assert row.letter == "digest"
        assert row.message_id == f"<{row.public_id}@example.org>"
        assert digest.state == "sending"
        assert digest.queued_at == now


def test_each_row_has_a_name_of_its_own(engine, make_publication, now):
    """Twenty hex digits that nobody guesses, the same in the row and in its Message-ID."""
    with store.transaction(engine) as session:
        publication = make_publication(session, from_address="notes@köln.example")
        many_readers(session, publication, 500, now)
        digest = approved_digest(session, publication, now)
        queue.begin(session, digest, now=now)
        while queue.piece(session, digest, size=200, now=now):
            pass
        rows = session.scalars(select(store.Delivery).order_by(store.Delivery.id)).all()
    assert len({row.public_id for row in rows}) == 500
    # The digits that no other row shares.
    assert len({row.public_id[5:] for row in rows}) == 500
    assert all(re.fullmatch("[0-9a-f]{20}", row.public_id) for row in rows)
    assert {row.message_id for row in rows} == {
        f"<{row.public_id}@xn--kln-sna.example>" for row in rows
    }
    assert [row.address for row in rows] == [f"reader-{n}@example.net" for n in range(500)]
    assert {(row.state, row.epoch, row.attempts, row.due_at, row.created_at) for row in rows} == {
        ("queued", 0, 0, datetime(1970, 1, 1, tzinfo=UTC), now)
    }


def test_whom_the_log_does_not_know_is_passed_over(engine, make_publication, now):
    """Also when a whole piece is of such readers: those behind them get their rows."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, 30, now)
        unknown = select(store.Subscription.id).order_by(store.Subscription.id).limit(20)
        session.execute(
            update(store.ConsentEvent)
            .where(store.ConsentEvent.subscription_id.in_(unknown))
            .values(state="unsubscribed")
        )
        digest = approved_digest(session, publication, now)
        queue.begin(session, digest, now=now)
        made = [queue.piece(session, digest, size=10, now=now) for _ in range(4)]
        assert (made, deliveries(session)) == ([10, 10, 10, 0], 10)
        assert digest.queued_at == now


def test_queueing_goes_on_after_a_crash(engine, make_publication, now):
    """Pieces that were committed are not made again, and nobody is left out."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 25, now)
        queue.begin(session, digest, now=now)
        assert queue.piece(session, digest, size=10, now=now) == 10
        number = digest.id
    with pytest.raises(RuntimeError), store.transaction(engine) as session:
        queue.piece(session, session.get(store.Digest, number), size=10, now=now)
        raise RuntimeError("killed")
    made = []
    while not made or made[-1]:
        with store.transaction(engine) as session:
            digest = session.get(store.Digest, number)
            made.append(queue.piece(session, digest, size=10, now=now))
    assert made == [10, 5, 0]
    with store.reading(engine) as session:
        assert deliveries(session) == 25
        assert session.scalar(select(func.count(store.Delivery.subscriber_id.distinct()))) == 25


def test_a_second_send_adds_nobody(engine, make_publication, make_reader, now):
    """Neither a second begin nor readers who came later make further rows."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        make_reader(session, publication, "late@example.net")
        queue_all(session, digest, now)
        assert deliveries(session) == 1


def test_the_database_refuses_a_second_row_for_a_reader(engine, make_publication, make_reader, now):
    """Even when the mark of the digest is lost, nobody gets a second row."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        digest.queued_up_to = 0
        digest.queued_at = None
        queue_all(session, digest, now)
        assert deliveries(session) == 1


def test_a_digest_can_wait_for_its_time(engine, make_publication, now):
    """With a later time it stays approved and is found when the time has come."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        later = now + timedelta(hours=1)
        queue.begin(session, digest, now=now, at=later)
        assert (digest.state, digest.send_at) == ("approved", later)
        assert queue.scheduled(session, now) == []
        assert queue.scheduled(session, later) == [digest]


def test_a_time_that_is_over_means_now(engine, make_publication, now):
    """`at` in the past begins at once."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        queue.begin(session, digest, now=now, at=now - timedelta(hours=1))
        assert digest.state == "sending"


@pytest.mark.parametrize("state", ["draft", "paused", "cancelled"])
def test_what_is_not_approved_is_not_sent(engine, make_publication, now, state):
    """A draft, a paused and a cancelled digest refuse, and say what they are."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        digest.state = state
        with pytest.raises(WrongState, match=state):
            queue.begin(session, digest, now=now)


def test_a_digest_that_was_sent_stays_sent(engine, make_publication, now):
    """`send` a second time is no error and does nothing."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        digest.state = "sent"
        queue.begin(session, digest, now=now)
        assert digest.state == "sent"


def test_a_paused_digest_queues_nobody(engine, make_publication, make_reader, now):
    """Pausing also stops the making of rows."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        digest = approved_digest(session, publication, now)
        queue.begin(session, digest, now=now)
        digest.pause()
        with pytest.raises(WrongState):
            queue.piece(session, digest, now=now)
        assert queue.unfinished(session) is None


def test_a_test_mail_counts_for_no_digest(engine, make_publication, now):
    """A test is a delivery of its own, of a draft's content too."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        draft = store.Digest(publication=publication, subject="A draft", created_at=now)
        session.add(draft)
        session.flush()
        to = addresses.parse("me@example.org")
        with pytest.raises(WrongState):
            queue.test(session, draft, to, now)
        row = queue.test(session, draft, to, now, frozen={"subject": "A draft", "slots": {}})
        assert (row.letter, row.digest_id, row.state) == ("test", None, "queued")


def test_the_audience_is_told_before_sending(engine, make_publication, make_reader, now):
    """Who gets it, and who not, counted by the reason; a mailbox that must not be mailed too."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for number in range(5):
            make_reader(session, publication, f"reader-{number}@example.net")
        make_reader(session, publication, "pending@example.net", state="pending")
        for number in range(2):
            make_reader(session, publication, f"gone-{number}@example.net", state="unsubscribed")
        for number, reason in enumerate(store.SuppressionReason):
            mailbox = addresses.parse(f"reader-{number}@example.net").mailbox_hash(HASH_KEY)
            find.suppress(session, mailbox, reason, now=now)
        digest = approved_digest(session, publication, now)
        # "This was not me" stops a confirmation mail, not what somebody confirmed.
        suppressed = len(store.SuppressionReason) - 1
        assert audience.count(session, digest, hash_key=HASH_KEY) == audience.Audience(
            5 - suppressed, {"pending": 1, "suppressed": suppressed, "unsubscribed": 2}
        )


def test_suppressed_mailboxes_are_counted_in_pieces(engine, make_publication, now):
    """More of them than one statement takes."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, 2100, now)
        for number in (0, 1500, 2099):
            mailbox = addresses.parse(f"reader-{number}@example.net").mailbox_hash(HASH_KEY)
            find.suppress(session, mailbox, store.SuppressionReason.BOUNCED, now=now)
        digest = approved_digest(session, publication, now)
        found = audience.count(session, digest, hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (2097, {"suppressed": 3})


def test_the_audience_of_a_digest_that_was_begun(engine, make_publication, make_reader, now):
    """Those still to be mailed; who has it already, or came too late, is told apart."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, 8, now)
        digest = approved_digest(session, publication, now)
        queue.begin(session, digest, now=now)
        queue.piece(session, digest, size=5, now=now)
        assert audience.count(session, digest, hash_key=HASH_KEY).receivers == 8
        assert audience.not_queued_yet(session, digest) == 3
        while queue.piece(session, digest, now=now):
            pass
        assert audience.not_queued_yet(session, digest) == 0
        make_reader(session, publication, "late@example.net")
        ids = list(session.scalars(select(store.Delivery.id).order_by(store.Delivery.id)))
        for number, state in zip(
            ids, ("accepted", "failed", "uncertain", "skipped", "deferred", "armed"), strict=False
        ):
            row = session.get_one(store.Delivery, number)
            row.state, row.reason = state, "unsubscribed" if state == "skipped" else None
        gone = session.get_one(store.Delivery, ids[6])
        gone.subscriber_id = gone.subscription_id = gone.address = None
        session.execute(
            update(store.ConsentEvent)
            .where(store.ConsentEvent.subscription_id == 7)
            .values(subscription_id=None)
        )
        session.execute(delete(store.Subscription).where(store.Subscription.id == 7))
        session.flush()
        settled = {"already sent": 1, "failed": 1, "uncertain": 1, "unsubscribed": 1, "erased": 1}
        found = audience.count(session, digest, hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (3, {**settled, "not queued": 1})
        control.cancel(session, digest, now)
        found = audience.count(session, digest, hash_key=HASH_KEY)
        # The armed one is on its way; the rows that waited are cancelled, the latecomer too.
        assert (found.receivers, found.excluded["cancelled"]) == (1, 4)


def test_the_audience_of_a_sent_digest_is_nobody(engine, make_publication, make_reader, now):
    """Nor is anybody of a digest that was cancelled before it was sent."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, 2, now)
        sent, cancelled = (approved_digest(session, publication, now) for _ in range(2))
        queue_all(session, sent, now)
        session.execute(update(store.Delivery).values(state="accepted"))
        sent.finish(now)
        control.cancel(session, cancelled, now)
        make_reader(session, publication, "late@example.net")
        found = audience.count(session, sent, hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (0, {"already sent": 2, "not queued": 1})
        found = audience.count(session, cancelled, hash_key=HASH_KEY)
        assert (found.receivers, found.excluded) == (0, {"cancelled": 3})
