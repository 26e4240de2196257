"""Where the mail stands, and an operator's word on it."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest
from mailing import approved_digest, many_readers, queue_all, worker
from sqlalchemy import select, update

from newsletter import store
from newsletter.errors import NotFound, WrongState
from newsletter.sending import claim, control, queue, status
from newsletter.store.letters import new_letter
from newsletter.worker import beat


@pytest.fixture
def digest(engine, make_publication, now):
    """A digest with ten queued mails."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 10, now)
        queue_all(session, digest, now)
    return digest


def settle_all(session, state="accepted"):
    session.execute(update(store.Delivery).values(state=state))


def test_the_counts_add_up(engine, digest, now):
    """All eight states are named; the total is their sum."""
    with store.transaction(engine) as session:
        claim.digest(session, digest.id, "me", limit=3, now=now)
    with store.reading(engine) as session:
        found = status.of_digest(session, digest.id)
    assert set(found["counts"]) == set(store.DeliveryState)
    assert (found["state"], found["total"]) == ("sending", 10)
    assert (found["counts"]["queued"], found["counts"]["claimed"]) == (7, 3)


def test_an_unknown_digest_is_named(engine):
    """With where to look."""
    with store.reading(engine) as session, pytest.raises(NotFound, match="digest list"):
        status.of_digest(session, 99)


@pytest.mark.parametrize("open_state", ["queued", "claimed", "armed", "deferred"])
def test_a_digest_is_not_sent_before_everything_is_settled(engine, digest, now, open_state):
    """One row that is still under way keeps it open."""
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest.id)
        settle_all(session)
        one = session.query(store.Delivery).first()
        session.execute(
            update(store.Delivery).where(store.Delivery.id == one.id).values(state=open_state)
        )
        assert not status.finish(session, digest, now)
        for settled in ("accepted", "failed", "skipped", "uncertain"):
            settle_all(session, settled)
            assert status.complete(session) == [digest.id]
        assert status.finish(session, digest, now)
        assert (digest.state, digest.sent_at) == ("sent", now)
        assert not status.finish(session, digest, now)


def test_a_digest_is_not_sent_before_it_is_queued(engine, make_publication, now):
    """Without any row yet nothing is under way, and yet it is not over."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        queue.begin(session, digest, now=now)
        assert not status.finish(session, digest, now)
        queue.piece(session, digest, now=now)
        assert status.finish(session, digest, now)


def test_the_overview_tells_what_hangs(engine, digest, make_reader, now):
    """Letters that wait for long, mails that nobody holds any more, workers and who was seen."""
    later = now + timedelta(hours=1)
    with store.transaction(engine) as session:
        publication = session.get(store.Publication, digest.publication_id)
        reader = make_reader(session, publication, "ada@example.net", state="pending")
        letter = store.LetterName.CONFIRMATION
        new_letter(session, letter, publication, reader.subscriber, reader, now=now)
        worker(session, now, "here")
        worker(session, now, "gone", seconds=-1)
        for owner, limit in (("here", 1), ("gone", 2), ("never seen", 3)):
            claim.digest(session, digest.id, owner, limit=limit, now=now)
        one = session.scalars(select(store.Delivery).where(store.Delivery.owner == "gone")).first()
        one.state = "uncertain"
    with store.reading(engine) as session:
        fresh, found = status.overview(session, now), status.overview(session, later)
    json.dumps(found)
    assert [each["pid"] for each in found["workers"]] == [1]
    assert found["worker_seen_at"] == now.isoformat()
    assert found["stuck"] == {"waiting": 1, "expired": 4, "uncertain": 1}
    assert fresh["stuck"] == {"waiting": 0, "expired": 4, "uncertain": 1}
    assert found["letters"]["queued"] == 1
    assert [(each["digest"], each["publication"]) for each in found["digests"]] == [
        (digest.id, "field-notes")
    ]


def test_no_worker_has_a_lease(engine, digest, now):
    """Who ended, or was silent for too long, is not counted on; when it was seen is told."""
    with store.transaction(engine) as session:
        worker(session, now, "silent", seconds=-1)
        worker(session, now, "ended")
        beat.end(session, "ended", now + timedelta(seconds=5))
    with store.reading(engine) as session:
        found = status.overview(session, now)
    assert found["workers"] == []
    assert found["worker_seen_at"] == (now + timedelta(seconds=5)).isoformat()


def test_why_a_digest_was_paused(engine, digest):
    """As long as it is; an operator's own word has no reason."""

    def reason() -> object:
        session.flush()
        return status.of_digest(session, digest.id)["pause_reason"]

    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest.id)
        control.pause(session, digest, "550 5.7.1 not from you")
        assert reason() == "550 5.7.1 not from you"
        assert status.overview(session, digest.created_at)["digests"][0]["pause_reason"] == reason()
        control.resume(session, digest)
        assert reason() is None
        control.pause(session, digest)
        assert reason() is None
        control.resume(session, digest)
        control.pause(session, digest, "552 too large")
        control.cancel(session, digest, digest.created_at)
        assert reason() is None


def test_the_worst_domain_is_named(engine, digest):
    """The one that most mails were put off by or failed at; of two, the first by name."""
    ends = [("b.example", "deferred"), ("b.example", "failed"), ("a.example", "deferred")]
    ends += [("c.example", "accepted")] * 4
    with store.transaction(engine) as session:
        assert status.of_digest(session, digest.id)["worst_domain"] is None
        rows = session.scalars(select(store.Delivery).order_by(store.Delivery.id)).all()
        for row, (domain, state) in zip(rows, ends, strict=False):
            row.address, row.state = f'"x@y"@{domain}', state
        session.flush()
        found = status.of_digest(session, digest.id)["worst_domain"]
        assert found == {"domain": "b.example", "mails": 2}
        rows[0].address = None  # erased
        session.flush()
        found = status.of_digest(session, digest.id)["worst_domain"]
        assert found == {"domain": "a.example", "mails": 1}


def test_a_tally_always_says_what_a_count_says(engine, make_publication, now):
    """While rows are made, and whatever state most of them are in later."""
    states = list(store.DeliveryState)
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 40, now)
        queue.begin(session, digest, now=now)
        tally = status.Tally(digest.id)
        chance = random.Random(1)
        for step in range(40):
            queue.piece(session, digest, size=7, now=now)
            rows = session.scalars(select(store.Delivery)).all()
            # Mostly one way, so that another state becomes the largest now and then.
            for row in chance.sample(rows, len(rows) // 2):
                row.state = chance.choice([states[step // 5], states[step // 5], *states])
            session.flush()
            assert tally.of(session) == status.of_digest(session, digest.id)
        assert tally.of(session)["total"] == 40


def test_the_overview_forgets_what_is_long_over(engine, make_publication, now):
    """The last ten finished digests are shown, and every one that is not."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for _ in range(12):
            approved_digest(session, publication, now).state = "sent"
        waiting = approved_digest(session, publication, now)
        session.flush()
        shown = status.overview(session, now)["digests"]
        assert len(shown) == 11
        assert shown[0]["digest"] == waiting.id


def test_pause_and_resume(engine, digest):
    """Each only in the state that it is for."""
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest.id)
        with pytest.raises(WrongState):
            control.resume(session, digest)
        control.pause(session, digest)
        with pytest.raises(WrongState):
            control.pause(session, digest)
        control.resume(session, digest)
        assert digest.state == "sending"


def test_a_cancel_skips_what_is_not_handed_over(engine, digest, now):
    """What was accepted, and what is on its way, stays as it is; the total still adds up."""
    with store.transaction(engine) as session:
        held = claim.digest(session, digest.id, "me", limit=4, now=now)
        for given, state in zip(held, ("armed", "accepted", "deferred", "claimed"), strict=True):
            session.execute(
                update(store.Delivery).where(store.Delivery.id == given.id).values(state=state)
            )
        digest = session.get(store.Digest, digest.id)
        assert control.cancel(session, digest, now) == 8
        counts = status.of_digest(session, digest.id)["counts"]
        assert (counts["skipped"], counts["armed"], counts["accepted"]) == (8, 1, 1)
        with pytest.raises(WrongState):
            control.resume(session, digest)


def test_what_is_sent_cannot_be_cancelled(engine, digest, now):
    """It has left the house."""
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest.id)
        settle_all(session)
        status.finish(session, digest, now)
        with pytest.raises(WrongState):
            control.cancel(session, digest, now)
