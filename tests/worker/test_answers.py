"""What the relay's answers lead to: for one reader, for the digest, for the subscription."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from mailing import approved_digest, many_readers, queue_all, states
from sqlalchemy import select, update

from newsletter import consent, store
from newsletter.mail.transport import (
    Refused,
    RelayProblem,
    Reply,
    Returned,
    TryLater,
    Unknown,
)
from newsletter.sending import control, queue, retry
from newsletter.store.letters import new_letter
from newsletter.worker import Sender, smtp_pool
from newsletter.worker.answers import Answer, Kind

READERS = 40


@pytest.fixture
def relay(settings, sink):
    """The settings with the sink as relay; what is put off is tried again after an hour."""
    return settings.model_copy(
        update={"smtp_url": type(settings.secret_key)(sink.url), "retry_delay": 3600.0}
    )


@pytest.fixture
def digest_id(engine, make_publication, now):
    """A digest that is being sent to READERS readers."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, READERS, now)
        queue_all(session, digest, datetime.now(UTC))
        return digest.id


def send(engine, settings, digest_id):
    sender = Sender(engine, settings, smtp_pool(settings), relay_delay=0.01)
    sender.run(threading.Event(), until_idle=True, digest_id=digest_id)


def digest(engine, digest_id):
    with store.reading(engine) as session:
        return session.get(store.Digest, digest_id)


YES = Reply(250, "2.0.0 ok", "dot")


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (YES, Kind.ACCEPTED),
        (Refused(Reply(550, "5.1.1 no such user", "rcpt"), "rcpt"), Kind.NO_MAILBOX),
        (Refused(Reply(550, "5.1.10 null MX", "rcpt"), "rcpt"), Kind.NO_MAILBOX),
        (Refused(Reply(550, "5.1.8 bad sender", "rcpt"), "rcpt"), Kind.POLICY),
        (Refused(Reply(552, "5.2.2 full", "rcpt"), "rcpt"), Kind.RECIPIENT),
        (Refused(Reply(550, "no", "rcpt"), "rcpt"), Kind.RECIPIENT),
        (Refused(Reply(550, "5.7.1 blocked", "rcpt"), "rcpt"), Kind.POLICY),
        (Refused(Reply(554, "5.6.0 bad content", "dot"), "dot"), Kind.POLICY),
        (Refused(Reply(552, "5.3.4 too big", "mail"), "mail"), Kind.POLICY),
        (TryLater(Reply(451, "4.7.1 later", "rcpt"), "rcpt"), Kind.LATER),
        (TryLater(None, "body"), Kind.LATER),
        (Unknown(), Kind.UNKNOWN),
        (RelayProblem(None, "connect"), Kind.RELAY),
        (Returned(None, "mail"), Kind.RETURNED),
    ],
)
def test_what_an_answer_is_about(result, kind):
    """The enhanced code and the stage tell (RFC 3463 §3)."""
    assert Answer(None, result).kind is kind


@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
def test_policy_pauses_the_digest_and_fails_nobody(engine, relay, sink, digest_id, stage):
    """The relay refuses us, whoever the reader is: the operator is told, and nobody is lost."""
    sink.reply = lambda at, _argument: "550 5.7.1 not from you" if at == stage else None
    send(engine, relay, digest_id)
    found = digest(engine, digest_id)
    assert (found.state, "5.7.1 not from you" in found.pause_reason) == ("paused", True)
    assert set(states(engine)) <= {"queued", "deferred"}
    assert sum(states(engine).values()) == READERS
    # At most what was under way on the connections was offered at all.
    assert states(engine).get("deferred", 0) <= 2 * relay.smtp_connections
    sink.reply = None
    with store.transaction(engine) as session:
        control.resume(session, session.get(store.Digest, digest_id))
    assert digest(engine, digest_id).pause_reason is None
    send(engine, relay.model_copy(update={"retry_delay": 0.0}), digest_id)


def test_a_sender_that_is_refused_pauses_its_digest(engine, relay, sink, digest_id):
    """MAIL FROM: no reader is charged; digests of other publications are not touched."""
    sink.reply = lambda at, _argument: "553 5.1.8 no such sender" if at == "mail" else None
    send(engine, relay, digest_id)
    assert digest(engine, digest_id).state == "paused"
    assert states(engine) == {"queued": READERS}
    with store.reading(engine) as session:
        assert set(session.scalars(select(store.Delivery.attempts))) == {0}


def test_one_reader_whose_server_blocks_us_stops_nobody(engine, relay, sink, digest_id):
    """5.7.1 for one among many that are taken: that one is put off, the digest goes on."""
    relay = relay.model_copy(update={"smtp_connections": 1})
    sink.reply = lambda at, argument: (
        "550 5.7.1 you are blocked" if (at, argument) == ("rcpt", "reader-30@example.net") else None
    )
    send(engine, relay, digest_id)
    assert digest(engine, digest_id).state == "sending"
    assert states(engine) == {"accepted": READERS - 1, "deferred": 1}


def test_one_reader_whose_server_always_blocks_us_keeps_no_digest_open(
    engine, relay, sink, digest_id
):
    """By whomever and however often it is tried: the digest is not paused, and ends in time."""
    relay = relay.model_copy(
        update={"retry_delay": 0.05, "retry_delay_max": 0.05, "smtp_connections": 1}
    )
    blocked = []

    def reply(at, argument):
        if (at, argument) == ("rcpt", "reader-30@example.net"):
            blocked.append(argument)
            return "550 5.7.1 you are blocked"
        return None

    sink.reply = reply
    for _ in range(4):  # a process of its own each time, which knows nothing of the others
        send(engine, relay, digest_id)
        assert digest(engine, digest_id).state == "sending"
        threading.Event().wait(0.1)
    assert len(blocked) >= 3
    sender = Sender(engine, relay.model_copy(update={"retry_for": 0.2}), smtp_pool(relay))
    sender.run(threading.Event(), until_idle=True, digest_id=digest_id, wait=True)
    assert digest(engine, digest_id).state == "sent"
    with store.reading(engine) as session:
        row = session.scalars(select(store.Delivery).filter_by(state="failed")).one()
    assert (row.address, row.reason) == ("reader-30@example.net", "policy")
    assert states(engine) == {"accepted": READERS - 1, "failed": 1}
    sink.reply = None
    with store.transaction(engine) as session:
        retry.failed(session, session.get(store.Digest, digest_id), datetime.now(UTC))
    send(engine, relay, digest_id)
    assert states(engine) == {"accepted": READERS}


def test_an_operators_word_to_go_on_holds(engine, relay, sink, digest_id):
    """Three servers of forty block us: it is told once, and not again for the same three."""
    relay = relay.model_copy(update={"retry_delay": 0.05, "retry_delay_max": 0.05})
    they = {f"reader-{number}@example.net" for number in (20, 25, 30)}
    sink.reply = lambda at, argument: (
        "550 5.7.1 you are blocked" if at == "rcpt" and argument in they else None
    )
    one = relay.model_copy(update={"smtp_connections": 1})
    send(engine, one, digest_id)
    assert digest(engine, digest_id).state == "paused"
    with store.transaction(engine) as session:
        control.resume(session, session.get(store.Digest, digest_id))
    for _ in range(3):
        send(engine, one, digest_id)
        threading.Event().wait(0.1)
    assert digest(engine, digest_id).state == "sending"
    assert states(engine)["accepted"] == READERS - len(they)


def test_an_address_that_does_not_exist_ends_its_subscription(engine, relay, sink, digest_id):
    """As bounced, with its event in the consent log, before the digest is called sent."""
    sink.reply = lambda at, argument: (
        "550 5.1.1 no such user" if (at, argument) == ("rcpt", "reader-7@example.net") else None
    )
    send(engine, relay, digest_id)
    assert digest(engine, digest_id).state == "sent"
    assert states(engine) == {"accepted": READERS - 1, "failed": 1}
    with store.reading(engine) as session:
        row = session.scalars(
            select(store.Delivery).where(store.Delivery.address == "reader-7@example.net")
        ).one()
        assert row.reason == "no-mailbox"
        assert session.get(store.Subscription, row.subscription_id).state == "bounced"
        newest = list(consent.entries(session, row.subscriber_id))[-1].fields
    assert (newest["type"], newest["channel"]) == ("bounced", "bounce")
    assert newest["note"] == "550 5.1.1 no such user"


def test_a_bounce_that_a_dead_process_did_not_end_is_made_up_for(engine, relay, sink, digest_id):
    """It is found from the row, by whoever sends next."""
    with store.transaction(engine) as session:
        row = session.scalars(select(store.Delivery).limit(1)).one()
        row.state, row.reason, row.reply_code, row.reply_text = (
            "failed",
            "no-mailbox",
            550,
            "5.1.1 gone",
        )
        row.settled_at = datetime.now(UTC)
        number = row.subscription_id
    send(engine, relay, digest_id)
    with store.reading(engine) as session:
        assert session.get(store.Subscription, number).state == "bounced"


def test_a_second_digest_does_not_go_where_nobody_lives(engine, relay, sink, digest_id, now):
    """Who bounced gets nothing more."""
    sink.reply = lambda at, argument: (
        "550 5.1.1 no such user" if (at, argument) == ("rcpt", "reader-7@example.net") else None
    )
    send(engine, relay, digest_id)
    with store.transaction(engine) as session:
        publication = session.get(store.Digest, digest_id).publication
        second = approved_digest(session, publication, now)
        queue.begin(session, second, now=datetime.now(UTC))
    asked: Counter[str] = Counter()
    sink.reply = lambda at, argument: asked.update([argument]) if at == "rcpt" else None
    send(engine, relay, second.id)
    assert len(asked) == READERS - 1
    assert "reader-7@example.net" not in asked


def test_a_bounce_while_a_second_digest_is_sent(engine, relay, sink, digest_id, now):
    """Whichever mail of the reader meets it, no other one arrives, and both digests add up."""
    with store.transaction(engine) as session:
        publication = session.get(store.Digest, digest_id).publication
        second = approved_digest(session, publication, now)
        queue.begin(session, second, now=datetime.now(UTC))
    sink.reply = lambda at, argument: (
        "550 5.1.1 no such user" if (at, argument) == ("rcpt", "reader-7@example.net") else None
    )
    Sender(engine, relay, smtp_pool(relay), relay_delay=0.01).run(
        threading.Event(), until_idle=True
    )
    assert {digest(engine, number).state for number in (digest_id, second.id)} == {"sent"}
    with store.reading(engine) as session:
        mine = store.Delivery.address == "reader-7@example.net"
        found = session.scalars(select(store.Delivery).where(mine)).all()
        assert session.get(store.Subscription, found[0].subscription_id).state == "bounced"
    assert {(row.state, row.reason) for row in found} <= {
        ("failed", "no-mailbox"),
        ("skipped", "bounced"),
    }
    assert states(engine)["accepted"] == 2 * (READERS - 1) == len(sink.received)


def test_a_letter_whose_sender_is_refused_stops_nobody_else(
    engine, relay, sink, digest_id, make_publication, make_reader
):
    """It is put off, and never given up: it is not about its reader. The digests of other
    publications, and their relay, go on.
    """
    with store.transaction(engine) as session:
        refused = make_publication(session, "other", from_address="other@example.com")
        reader = make_reader(session, refused, "ada@example.net", "pending")
        letter = store.LetterName.ACCESS
        moment = datetime.now(UTC)
        row = new_letter(session, letter, refused, reader.subscriber, reader, now=moment)
        row.attempts, row.created_at = 100, moment - timedelta(days=30)
    sink.reply = lambda at, argument: (
        "553 5.1.8 no such sender" if (at, argument) == ("mail", "other@example.com") else None
    )
    send(engine, relay, digest_id)
    assert digest(engine, digest_id).state == "sent"
    assert states(engine) == {"accepted": READERS, "deferred": 1}


@pytest.mark.parametrize("code", [530, 535, 538])
def test_an_answer_about_us_to_the_dot_leaves_no_row_armed(engine, relay, sink, digest_id, code):
    """The mail was surely not accepted: it is queued again, and the digest is paused."""
    told = []

    def reply(stage, argument):
        if (stage, argument) == ("dot", "reader-7@example.net") and not told:
            told.append(argument)
            return f"{code} 5.7.8 log in first"
        return None

    sink.reply = reply
    with suppress(RelayProblem):  # forgotten, where another connection works at the same moment
        send(engine, relay, digest_id)
    assert digest(engine, digest_id).state == "paused"
    assert set(states(engine)) <= {"accepted", "queued"}
    with store.transaction(engine) as session:
        control.resume(session, session.get(store.Digest, digest_id))
    send(engine, relay, digest_id)
    assert states(engine) == {"accepted": READERS}


def test_nobody_is_given_up_for_a_policy(engine, relay, sink, digest_id):
    """However old the digest is."""
    old = datetime.now(UTC) - timedelta(days=30)
    with store.transaction(engine) as session:
        session.execute(update(store.Delivery).values(created_at=old, attempts=40))
    sink.reply = lambda at, _argument: "550 5.7.1 not from you" if at == "rcpt" else None
    send(engine, relay, digest_id)
    assert set(states(engine)) <= {"queued", "deferred"}
