"""The last look, and what becomes of a mail: only for whoever holds the row."""

from __future__ import annotations

from datetime import timedelta

import pytest
from mailing import HASH_KEY, ORIGIN, approved_digest, claimed_mail, queue_all, worker
from sqlalchemy import update

from newsletter import addresses, store
from newsletter.mail.transport import Reply
from newsletter.sending import claim, control, settle, write
from newsletter.sending.pace import Retries
from newsletter.sending.settle import Verdict
from newsletter.store.find import suppress
from newsletter.store.letters import new_letter

YES = Reply(250, "2.0.0 taken", "dot")
LATER = Reply(451, "4.7.1 later", "rcpt")
NO = Reply(550, "5.1.1 no such ada@example.net", "rcpt")
RETRIES = Retries(delay=300, delay_max=1000, give_up=86400)


@pytest.fixture
def held(engine, make_publication, make_reader, now):
    """A digest, its one reader's subscription, and the claimed mail."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net")
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, now)
        return digest.id, reader.id, claimed_mail(session, digest, now)


def row(engine, mail):
    with store.reading(engine) as session:
        return session.get(store.Delivery, mail.claim.id)


def arm(session, mail, now):
    return settle.arm(session, [mail], now=now)[0]


def test_an_accepted_mail(engine, held, now):
    """claimed -> armed with the hash of its bytes -> accepted with the relay's words."""
    mail = held[2]
    with store.transaction(engine) as session:
        assert arm(session, mail, now) is Verdict.ARMED
    assert row(engine, mail).state == "armed"
    assert row(engine, mail).content_sha256 == mail.sha256
    with store.transaction(engine) as session:
        assert settle.accepted(session, [(mail.claim, YES)], now=now)
    found = row(engine, mail)
    assert (found.state, found.reply_code, found.reply_text) == ("accepted", 250, "2.0.0 taken")
    assert (found.attempts, found.owner, found.settled_at) == (1, None, now)


def test_a_mail_is_armed_once(engine, held, now):
    """A second arming of the same row is refused."""
    with store.transaction(engine) as session:
        assert arm(session, held[2], now) is Verdict.ARMED
        assert arm(session, held[2], now) is Verdict.LOST


def test_a_worker_that_lost_its_claim_changes_nothing(engine, held, now):
    """Its epoch is old: it can neither arm nor settle what another worker holds."""
    digest_id, _, mail = held
    with store.transaction(engine) as session:
        claim.reap(session, now)
        again = claim.digest(session, digest_id, "other", limit=1, now=now)
        assert again[0].id == mail.claim.id
        assert arm(session, mail, now) is Verdict.LOST
        assert not settle.accepted(session, [(mail.claim, YES)], now=now)
        assert not settle.failed(session, mail.claim, NO, reason="refused", now=now)
        assert not settle.uncertain(session, mail.claim, now=now)
        assert settle.deferred(session, mail, LATER, retries=RETRIES, chance=0, now=now) is None
        assert claim.give_back(session, [mail.claim]) == 0
    assert (row(engine, mail).state, row(engine, mail).owner) == ("claimed", "other")


def test_accepted_needs_an_armed_row(engine, held, now):
    """What was never armed cannot have been accepted."""
    with store.transaction(engine) as session:
        assert not settle.accepted(session, [(held[2].claim, YES)], now=now)


@pytest.mark.parametrize("state", ["unsubscribed", "bounced", "complained", "pending"])
def test_a_reader_who_is_not_confirmed_any_more(engine, held, now, state):
    """The last look sees what was committed since the claim, and the row says why."""
    _, subscription_id, mail = held
    with store.transaction(engine) as session:
        session.get(store.Subscription, subscription_id).state = state
    with store.transaction(engine) as session:
        assert arm(session, mail, now) is Verdict.SKIPPED
    assert (row(engine, mail).state, row(engine, mail).reason) == ("skipped", state)


@pytest.mark.parametrize("reason", ["erased", "bounced", "complained"])
def test_a_suppressed_mailbox(engine, held, now, reason):
    """It is known by its hash alone, other spellings of the mailbox too."""
    mail = held[2]
    with store.transaction(engine) as session:
        hashed = addresses.parse("ADA+x@example.net").mailbox_hash(HASH_KEY)
        suppress(session, hashed, reason, now=now)
        assert arm(session, mail, now) is Verdict.SKIPPED
    assert (row(engine, mail).state, row(engine, mail).reason) == ("skipped", "suppressed")


def test_a_block_leaves_what_was_confirmed(engine, held, now):
    """Who says "this was not me" of one publication keeps the digest of another."""
    mail = held[2]
    with store.transaction(engine) as session:
        suppress(session, mail.mailbox_hash, store.SuppressionReason.BLOCKED, now=now)
        assert arm(session, mail, now) is Verdict.ARMED


def test_an_erased_reader(engine, held, now):
    """A row that lost its person is not armed."""
    mail = held[2]
    with store.transaction(engine) as session:
        session.execute(
            update(store.Delivery).values(subscriber_id=None, subscription_id=None, address=None)
        )
        assert arm(session, mail, now) is Verdict.SKIPPED
    assert row(engine, mail).reason == "erased"


def test_a_paused_digest_waits(engine, held, now):
    """The row is queued again, and goes on when the digest does."""
    digest_id, _, mail = held
    with store.transaction(engine) as session:
        control.pause(session, session.get(store.Digest, digest_id))
        assert arm(session, mail, now) is Verdict.WAITS
    assert (row(engine, mail).state, row(engine, mail).owner) == ("queued", None)
    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest_id)
        control.resume(session, digest)
        assert arm(session, claimed_mail(session, digest, now), now) is Verdict.ARMED


def test_a_cancelled_digest_is_over(engine, held, now):
    """What is not armed is skipped at once; the worker that holds it cannot arm it."""
    digest_id, _, mail = held
    with store.transaction(engine) as session:
        assert control.cancel(session, session.get(store.Digest, digest_id), now) == 1
        assert arm(session, mail, now) is Verdict.LOST
    assert (row(engine, mail).state, row(engine, mail).reason) == ("skipped", "cancelled")


def test_a_mail_that_is_put_off(engine, held, now):
    """It waits for the retry delay and is tried with another epoch; the reply is kept."""
    digest_id, _, mail = held
    with store.transaction(engine) as session:
        state = settle.deferred(session, mail, LATER, retries=RETRIES, chance=0, now=now)
    found = row(engine, mail)
    assert (state, found.state, found.attempts) == ("deferred", "deferred", 1)
    assert found.due_at == now + timedelta(seconds=300)
    assert (found.reply_code, found.settled_at) == (451, None)
    with store.transaction(engine) as session:
        claim.due(session, found.due_at)
        digest = session.get(store.Digest, digest_id)
        again = claimed_mail(session, digest, found.due_at)
        assert (again.claim.epoch, again.attempts) == (2, 1)
        assert again.raw == mail.raw


def test_a_mail_that_is_put_off_for_too_long_failed(engine, held, now):
    """After retry_for, counted from when it was queued, if it was tried for so long."""
    mail = held[2]
    mail.attempts = 100
    later = now + timedelta(days=1)
    with store.transaction(engine) as session:
        state = settle.deferred(session, mail, LATER, retries=RETRIES, chance=0, now=later)
    assert state == "failed"
    assert (row(engine, mail).state, row(engine, mail).reason) == ("failed", "gave-up")
    assert row(engine, mail).reply_code == 451


def test_an_uncertain_mail_is_settled_by_a_late_reply(engine, held, now):
    """The same epoch may still say what the relay said in the end; the attempt counts once."""
    mail = held[2]
    with store.transaction(engine) as session:
        arm(session, mail, now)
        claim.reap(session, now)
    assert row(engine, mail).state == "uncertain"
    with store.transaction(engine) as session:
        assert settle.accepted(session, [(mail.claim, YES)], now=now)
    assert (row(engine, mail).state, row(engine, mail).attempts) == ("accepted", 1)


def test_a_late_4xx_leaves_no_row_that_nobody_tries(engine, held, now):
    """Its digest may be finished: the row is failed, where an operator sees it."""
    mail = held[2]
    with store.transaction(engine) as session:
        arm(session, mail, now)
        settle.uncertain(session, mail.claim, now=now)
        state = settle.deferred(session, mail, LATER, retries=RETRIES, chance=0, now=now)
    assert (state, row(engine, mail).state, row(engine, mail).reason) == (
        "failed",
        "failed",
        "late",
    )


NO_TO_US = Reply(550, "5.7.1 not from you", "rcpt")


def refused_for_policy(session, mail, now):
    return settle.refused_for_policy(session, mail, NO_TO_US, retries=RETRIES, chance=0, now=now)


def test_a_no_that_is_about_us_puts_a_mail_off(engine, held, now):
    """Its row says so, and whoever writes it the next time knows that it met this before."""
    digest_id, _, mail = held
    with store.transaction(engine) as session:
        assert refused_for_policy(session, mail, now) == "deferred"
    found = row(engine, mail)
    assert (found.state, found.reason, found.attempts) == ("deferred", "policy", 1)
    with store.transaction(engine) as session:
        claim.due(session, found.due_at)
        again = claimed_mail(session, session.get(store.Digest, digest_id), found.due_at)
        assert (mail.met_policy, again.met_policy) == (False, True)


@pytest.mark.parametrize("others_got_it", [True, False])
def test_who_is_given_up_for_policy(engine, held, now, others_got_it):
    """After retry_for: a reader of a digest that others got. Where nobody did, nobody is."""
    digest_id, _, mail = held
    mail.attempts = 100
    with store.transaction(engine) as session:
        if others_got_it:
            digest = session.get(store.Digest, digest_id)
            other = store.Delivery(
                letter="digest", publication_id=digest.publication_id, digest_id=digest_id
            )
            other.state, other.due_at, other.created_at = "accepted", now, now
            session.add(other)
            session.flush()
        state = refused_for_policy(session, mail, now + timedelta(days=30))
    assert state == ("failed" if others_got_it else "deferred")
    assert (row(engine, mail).state, row(engine, mail).reason) == (state, "policy")


def test_a_late_no_that_is_about_us_fails_nobody(engine, held, now):
    """The row stays uncertain, for an operator's word, and has the reply."""
    mail = held[2]
    with store.transaction(engine) as session:
        arm(session, mail, now)
        settle.uncertain(session, mail.claim, now=now)
        assert refused_for_policy(session, mail, now) == "uncertain"
    found = row(engine, mail)
    assert (found.state, found.reply_code, found.attempts) == ("uncertain", 550, 1)


def test_what_an_earlier_try_met_says_nothing_of_a_lost_answer(engine, held, now):
    """A row that becomes uncertain is no longer one that was put off for policy."""
    digest_id, _, mail = held
    with store.transaction(engine) as session:
        refused_for_policy(session, mail, now)
        later = now + timedelta(days=1)
        claim.due(session, later)
        again = claimed_mail(session, session.get(store.Digest, digest_id), later)
        arm(session, again, later)
        worker(session, now, seconds=-1)
        claim.reap(session, later)
    assert (row(engine, mail).state, row(engine, mail).reason) == ("uncertain", None)


def test_the_reply_to_an_erased_persons_mail_is_not_kept(engine, held, now):
    """It can name the mailbox; its code cannot."""
    mail = held[2]
    with store.transaction(engine) as session:
        arm(session, mail, now)
        session.execute(update(store.Delivery).values(subscriber_id=None, address=None))
        settle.failed(session, mail.claim, NO, reason="refused", now=now)
    found = row(engine, mail)
    assert (found.state, found.reply_code, found.reply_text) == ("failed", 550, None)


def test_what_a_relay_says_can_be_stored(engine, held, now):
    """NUL, halves of surrogate pairs and endless texts included."""
    mail = held[2]
    with store.transaction(engine) as session:
        reply = Reply(550, "a\0b\udcff" + "x" * 5000, "dot")
        assert settle.failed(session, mail.claim, reply, reason="refused", now=now)
    assert row(engine, mail).reply_text.startswith("ab?xxx")
    assert len(row(engine, mail).reply_text) == 1000


CASES = [
    ("confirmation", "pending", None),
    ("confirmation", "confirmed", "confirmed"),
    ("confirmation", "unsubscribed", "unsubscribed"),
    ("already-confirmed", "confirmed", None),
    ("already-confirmed", "unsubscribed", "unsubscribed"),
    ("access", "confirmed", None),
    ("access", "unsubscribed", None),
    ("welcome", "confirmed", None),
    ("welcome", "unsubscribed", "unsubscribed"),
    ("goodbye", "unsubscribed", None),
    ("goodbye", "confirmed", "confirmed"),
]


def personal(session, make_publication, make_reader, now, letter, state, *, at):
    """A claimed letter of a person's own, made at `at`."""
    publication = make_publication(session)
    reader = make_reader(session, publication, "ada@example.net", state=state)
    name = store.LetterName(letter)
    new_letter(session, name, publication, reader.subscriber, reader, now=at)
    mails, _ = write.mails(session, claim.personal(session, "me", limit=1), ORIGIN)
    return mails[0]


@pytest.mark.parametrize(("letter", "state", "reason"), CASES)
def test_each_letter_has_its_own_condition(
    engine, make_publication, make_reader, now, letter, state, reason
):
    """It goes out only while what it says is true."""
    with store.transaction(engine) as session:
        mail = personal(session, make_publication, make_reader, now, letter, state, at=now)
        verdict = arm(session, mail, now)
    assert verdict is (Verdict.SKIPPED if reason else Verdict.ARMED)
    assert row(engine, mail).reason == reason


@pytest.mark.parametrize(("letter", "state"), [(n, s) for n, s, reason in CASES if not reason])
def test_who_said_this_was_not_me_is_not_asked_again(
    engine, make_publication, make_reader, now, letter, state
):
    """A blocked mailbox gets nothing that follows a sign-up; what was confirmed stays."""
    asks = letter in ("confirmation", "already-confirmed")
    with store.transaction(engine) as session:
        mail = personal(session, make_publication, make_reader, now, letter, state, at=now)
        suppress(session, mail.mailbox_hash, store.SuppressionReason.BLOCKED, now=now)
        assert arm(session, mail, now) is (Verdict.SKIPPED if asks else Verdict.ARMED)
    assert row(engine, mail).reason == ("blocked" if asks else None)


def test_whoever_was_erased_may_ask_anew(engine, make_publication, make_reader, now):
    """Only "this was not me" keeps a confirmation mail back."""
    with store.transaction(engine) as session:
        mail = personal(
            session, make_publication, make_reader, now, "confirmation", "pending", at=now
        )
        suppress(session, mail.mailbox_hash, store.SuppressionReason.ERASED, now=now)
        assert arm(session, mail, now) is Verdict.ARMED


def test_only_the_newest_request_is_confirmed(engine, make_publication, make_reader, now):
    """A confirmation mail from before a leave would carry a link that no longer counts."""
    earlier = now - timedelta(hours=1)
    with store.transaction(engine) as session:
        mail = personal(
            session, make_publication, make_reader, now, "confirmation", "pending", at=earlier
        )
        assert arm(session, mail, now) is Verdict.SKIPPED
    assert row(engine, mail).reason == "superseded"


@pytest.mark.parametrize("end", ["failed", "skipped", "cancelled", "swept"])
def test_what_may_have_arrived_stays_uncertain(engine, held, now, end):
    """A second try that ends without a mail says nothing of the first: only a yes settles it."""
    mail = held[2]
    with store.transaction(engine) as session:
        kept = session.get(store.Delivery, mail.claim.id)
        kept.reason = "retry-uncertain"
        session.flush()
        if end == "failed":
            assert settle.failed(session, mail.claim, NO, reason="refused", now=now)
        elif end == "skipped":
            session.execute(update(store.Subscription).values(state="unsubscribed"))
            assert arm(session, mail, now) is Verdict.SKIPPED
        elif end == "cancelled":
            control.cancel(session, session.get(store.Digest, mail.digest_id), now)
        else:
            claim.give_back(session, [mail.claim])
            session.execute(update(store.Digest).values(state="cancelled"))
            claim.sweep(session, now)
    assert row(engine, mail).state == "uncertain"


def test_doubt_survives_being_put_off(engine, held, now):
    """The next try is compared with the first one, too."""
    mail = held[2]
    with store.transaction(engine) as session:
        session.get(store.Delivery, mail.claim.id).reason = "retry-uncertain"
        session.flush()
        settle.deferred(session, mail, LATER, retries=RETRIES, chance=0, now=now)
    assert (row(engine, mail).state, row(engine, mail).reason) == (
        "deferred",
        "retry-uncertain",
    )
