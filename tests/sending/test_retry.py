"""Trying mails once more: by an operator's word, or where the relay knows its copies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from mailing import approved_digest, many_readers, queue_all, states
from sqlalchemy import select, update

from newsletter import consent, store
from newsletter.errors import WrongState
from newsletter.sending import claim, control, retry, status
from newsletter.store.doubt import RETRY_BY_ITSELF, RETRY_CHANGED, RETRY_UNCERTAIN
from newsletter.store.letters import new_letter
from newsletter.subscriptions import erase

LONG_AGO = timedelta(minutes=16)
SHA = b"s" * 32


@pytest.fixture
def digest(engine, make_publication, now):
    """A digest that was sent long ago: one mail in each settled state, three of them uncertain."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 6, now)
        queue_all(session, digest, now)
        ends = ("accepted", "skipped", "failed", "uncertain", "uncertain", "uncertain")
        set_rows(session, ends, settled_at=now - LONG_AGO, attempts=2, content_sha256=SHA)
        digest.finish(now)
    return digest


def set_rows(session, ends, **values):
    for row, state in zip(rows(session), ends, strict=True):
        row.state = state
        for name, value in values.items():
            setattr(row, name, value)
    session.flush()


def rows(session):
    return session.scalars(select(store.Delivery).order_by(store.Delivery.id)).all()


def again(engine, how, digest, *args, **options):
    with store.transaction(engine) as session:
        return how(session, session.get(store.Digest, digest.id), *args, **options)


def state_of(engine, digest):
    with store.reading(engine) as session:
        return session.get(store.Digest, digest.id).state


def test_failed_mails_are_queued_again(engine, digest, now):
    """A digest that was sent is being sent again; all other rows stay what they are."""
    assert again(engine, retry.failed, digest, now) == retry.Done(1)
    assert states(engine) == {"accepted": 1, "skipped": 1, "queued": 1, "uncertain": 3}
    with store.transaction(engine) as session:
        row = rows(session)[2]
        assert (row.retried_at, row.due_at, row.settled_at) == (now, now, None)
        assert (row.attempts, row.reason, row.owner) == (2, None, None)
        found = session.get(store.Digest, digest.id)
        assert (found.state, found.sent_at) == ("sending", None)
        held = claim.digest(session, digest.id, "me", limit=5, now=now)
        assert [each.id for each in held] == [row.id]


def test_uncertain_mails_are_queued_again_and_known(engine, digest, now):
    """The row says that it may have arrived, until it is settled, also if it is given back."""
    assert again(engine, retry.uncertain, digest, now) == retry.Done(3)
    with store.transaction(engine) as session:
        held = claim.digest(session, digest.id, "me", limit=5, now=now)
        assert claim.give_back(session, held) == 3
        for row in rows(session)[3:]:
            assert (row.state, row.reason, row.content_sha256) == ("queued", RETRY_UNCERTAIN, SHA)


def test_an_operator_can_let_a_changed_mail_go(engine, digest, now):
    """By a word of its own, since the receiver will not know the second copy."""
    assert again(engine, retry.uncertain, digest, now, even_changed=True) == retry.Done(3)
    with store.reading(engine) as session:
        assert [row.reason for row in rows(session)[3:]] == [RETRY_CHANGED] * 3


def test_what_became_uncertain_a_moment_ago_is_left_alone(engine, digest, now):
    """Its answer may still come: fifteen minutes, to the second."""
    with store.transaction(engine) as session:
        found = rows(session)
        found[4].settled_at = now - timedelta(minutes=15)
        found[5].settled_at = now - timedelta(minutes=15) + timedelta(seconds=1)
    assert again(engine, retry.uncertain, digest, now) == retry.Done(2, 1)
    assert states(engine)["uncertain"] == 1


def test_nothing_to_retry_changes_nothing(engine, digest, now):
    """A digest that was sent stays sent; so does one whose mails are all too young."""
    with store.transaction(engine) as session:
        session.execute(
            update(store.Delivery).where(store.Delivery.state == "failed").values(state="accepted")
        )
        session.execute(update(store.Delivery).values(settled_at=now))
    assert again(engine, retry.failed, digest, now) == retry.Done(0)
    assert again(engine, retry.uncertain, digest, now) == retry.Done(0, 3)
    assert state_of(engine, digest) == "sent"


def test_an_erased_reader_stays_erased(engine, digest, now):
    """There is no address to send to any more."""
    with store.transaction(engine) as session:
        for row in rows(session):
            row.address = row.subscriber_id = row.subscription_id = None
    assert again(engine, retry.failed, digest, now) == retry.Done(0)
    assert again(engine, retry.uncertain, digest, now) == retry.Done(0)
    assert by_itself(engine, now) == 0


@pytest.mark.parametrize("state", ["queued", "claimed", "deferred"])
def test_being_erased_says_nothing_of_the_first_try(engine, digest, now, state):
    """The mail that was tried once more stays uncertain; one that failed is skipped."""
    by = consent.Evidence(actor="operator", channel="command")
    for how in (retry.uncertain, retry.failed):
        again(engine, how, digest, now)
    with store.transaction(engine) as session:
        retried = rows(session)[2:4]
        numbers = [row.id for row in retried]
        for row in retried:
            row.state = state
            reader = session.get(store.Subscriber, row.subscriber_id)
            erase.forget(session, reader, by, hash_key=b"h" * 32, now=now)
    with store.reading(engine) as session:
        found = [session.get(store.Delivery, number) for number in numbers]
    assert [(row.state, row.reason) for row in found] == [
        ("skipped", "erased"),
        ("uncertain", "erased"),
    ]


def test_only_one_digest_is_retried(engine, digest, make_publication, now):
    """Another's failed mails wait for a word of their own."""
    with store.transaction(engine) as session:
        other = approved_digest(session, make_publication(session, slug="other"), now)
        other.start()
    assert again(engine, retry.failed, other, now) == retry.Done(0)
    assert states(engine)["failed"] == 1


@pytest.mark.parametrize("state", ["draft", "approved", "cancelled"])
def test_a_digest_that_was_not_sent_has_nothing_to_retry(engine, digest, now, state):
    """A cancelled one is over, and what was never begun is not tried again."""
    with store.transaction(engine) as session:
        session.execute(update(store.Digest).values(state=state))
    for how in (retry.failed, retry.uncertain):
        with pytest.raises(WrongState, match=state):
            again(engine, how, digest, now)


@pytest.mark.parametrize("state", ["sending", "paused"])
def test_a_digest_that_is_under_way_goes_on_as_it_was(engine, digest, now, state):
    """A paused one stays paused: its mails wait for the operator's other word."""
    with store.transaction(engine) as session:
        session.execute(update(store.Digest).values(state=state))
    assert again(engine, retry.failed, digest, now) == retry.Done(1)
    assert state_of(engine, digest) == state


def test_a_late_answer_to_a_mail_that_is_tried_again_changes_nothing(engine, digest, now):
    """Its row has been queued since; the next claim raises the epoch."""
    with store.transaction(engine) as session:
        before = {row.id: row.epoch for row in rows(session)}
    again(engine, retry.uncertain, digest, now)
    with store.transaction(engine) as session:
        for held in claim.digest(session, digest.id, "me", limit=5, now=now):
            assert held.epoch == before[held.id] + 1


def by_itself(engine, now, hold=timedelta(minutes=1), window=timedelta(hours=24)):
    with store.transaction(engine) as session:
        return retry.by_itself(session, now, hold=hold, window=window)


def test_a_relay_that_knows_its_copies_gets_uncertain_mails_again(engine, digest, now):
    """Nobody needs to say so; the digest that was sent goes on."""
    assert by_itself(engine, now) == 3
    assert states(engine) == {"accepted": 1, "skipped": 1, "queued": 3, "failed": 1}
    assert state_of(engine, digest) == "sending"
    assert by_itself(engine, now) == 0
    with store.reading(engine) as session:
        assert {row.reason for row in rows(session)[3:]} == {RETRY_BY_ITSELF}


def test_a_digest_that_is_being_sent_does_not_wait_for_its_end(engine, digest, now):
    """What is in doubt goes again among the others."""
    with store.transaction(engine) as session:
        session.execute(update(store.Digest).values(state="sending", sent_at=None))
    assert by_itself(engine, now) == 3
    assert state_of(engine, digest) == "sending"


def test_it_waits_for_a_late_answer_and_not_for_ever(engine, digest, now):
    """Not before `hold` is over, nor when the relay may have forgotten the mail."""
    with store.transaction(engine) as session:
        found = rows(session)
        found[3].settled_at = now - timedelta(seconds=59)
        found[4].created_at = now - timedelta(hours=24)
    assert by_itself(engine, now) == 1


@pytest.mark.parametrize("reason", ["changed", "recovered"])
def test_what_only_an_operator_can_know_waits_for_one(engine, digest, now, reason):
    """A mail that would not be the same one; one that a restored backup brought back."""
    with store.transaction(engine) as session:
        session.execute(update(store.Delivery).values(reason=reason))
    assert by_itself(engine, now) == 0
    assert again(engine, retry.uncertain, digest, now) == retry.Done(3)


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_what_an_operator_stopped_stays_stopped(engine, digest, now, state):
    """Whatever the relay knows."""
    with store.transaction(engine) as session:
        session.execute(update(store.Digest).values(state=state))
    assert by_itself(engine, now) == 0


def test_a_persons_own_letter_goes_again_too(engine, make_publication, make_reader, now):
    """The relay knows it by the same header."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net", state="pending")
        letter = store.LetterName.CONFIRMATION
        row = new_letter(session, letter, publication, reader.subscriber, reader, now=now)
        row.state, row.settled_at, row.content_sha256 = "uncertain", now - LONG_AGO, SHA
    assert by_itself(engine, now) == 1
    with store.transaction(engine) as session:
        assert len(claim.personal(session, "me", limit=5)) == 1


def test_a_retried_digest_is_finished_again(engine, digest, now):
    """The total adds up once more."""
    again(engine, retry.failed, digest, now)
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest.id)
        assert not status.finish(session, digest, now)
        session.execute(
            update(store.Delivery).where(store.Delivery.state == "queued").values(state="accepted")
        )
        assert status.finish(session, digest, now + LONG_AGO)
        assert digest.sent_at == now + LONG_AGO
        with pytest.raises(WrongState):
            control.cancel(session, digest, now)
