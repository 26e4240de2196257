"""Each reply code at each stage: whom it touches, and that nothing is left half done by it.

What an outcome is called is tested in tests/mail; what an operator does then, in test_answers.py.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import partial

import pytest
from mailing import approved_digest, many_readers, queue_all
from sqlalchemy import select

from newsletter import consent, store
from newsletter.mail.sink import Login
from newsletter.sending import control, queue
from newsletter.worker import Sender, smtp_pool

READERS = 6
ONE = "reader-4@example.net"
LATER = ("421 4.3.2 closing", "450 4.2.1 busy", "451 4.7.1 greylisted", "452 4.5.3 too many")
REFUSALS = ("550 5.1.1 no such user", "550 5.7.1 not from you", "552 5.3.4 too big", "554 no")


@pytest.fixture
def relay(settings, sink):
    """The settings with the sink as relay; what is put off is tried again after an hour."""
    return settings.model_copy(
        update={"smtp_url": type(settings.secret_key)(sink.url), "retry_delay": 3600.0}
    )


@pytest.fixture
def publication_id(engine, make_publication, now):
    """A publication with READERS readers."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, READERS, now)
        return publication.id


def begun(engine, publication_id, now):
    """A digest that is being sent; its number."""
    with store.transaction(engine) as session:
        publication = session.get(store.Publication, publication_id)
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, datetime.now(UTC))
        return digest.id


def seen(engine, digest_id):
    """(the digest's state, {address: (state, attempts)}) at one moment."""
    with store.reading(engine) as session:
        rows = session.scalars(select(store.Delivery).where(store.Delivery.digest_id == digest_id))
        found = {row.address: (row.state, row.attempts) for row in rows}
        return session.get(store.Digest, digest_id).state, found


def settled(engine, digest_id, is_it):
    """What is seen once `is_it` holds and the living worker holds no row any more."""
    pause = threading.Event()
    for _ in range(400):
        state, rows = seen(engine, digest_id)
        held = {each for each, _ in rows.values()} & {"claimed", "armed"}
        if is_it(state, rows) and not held:
            return state, rows
        pause.wait(0.05)
    raise AssertionError((state, rows))


def is_over(wanted, state, rows):
    """Whether the digest has the wanted state, and nothing of it waits for its first try."""
    return state == wanted and "queued" not in {each for each, _ in rows.values()}


class working:
    """A worker in a thread of its own."""

    def __init__(self, engine, settings):
        self.stop = threading.Event()
        self.errors = []
        self.sender = Sender(engine, settings, smtp_pool(settings), relay_delay=0.01)
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            self.sender.run(self.stop)
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)
        assert not self.errors


@pytest.mark.parametrize(
    ("database_kind", "stage"),
    [("sqlite", "rcpt"), ("sqlite", "data"), ("sqlite", "dot"), ("postgresql", "dot")],
)
def test_about_one_mail(engine, relay, sink, publication_id, now, stage):
    """Later: that mail is put off. No such user, or another no to RCPT: it failed. Policy, or the
    message as a whole: it is put off, and the others arrive, or the digest is paused."""
    relay = relay.model_copy(update={"smtp_connections": 1})
    others = {f"reader-{number}@example.net" for number in range(READERS)} - {ONE}
    with working(engine, relay):
        # The one that ends a subscription comes last.
        for said in (*LATER, *reversed(REFUSALS)):
            sink.reply = lambda at, to, said=said: said if (at, to) == (stage, ONE) else None
            number = begun(engine, publication_id, now)
            is_failed = stage == "rcpt" and said[0] == "5" and "5.7." not in said
            wanted = ("failed" if is_failed else "deferred", 1)
            # Only what nobody waits for any more is over; by then a subscription has ended, too.
            over = "sent" if is_failed else "sending"
            _state, rows = settled(engine, number, partial(is_over, over))
            assert rows == {ONE: wanted} | dict.fromkeys(others, ("accepted", 1)), said
            with store.transaction(engine) as session:
                if not is_failed:
                    control.cancel(session, session.get(store.Digest, number), now)
    with store.reading(engine) as session:
        ended = set(session.scalars(select(store.Subscription.state))) - {"confirmed"}
    assert ended == ({"bounced"} if stage == "rcpt" else set())


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("stage", "said"),
    [
        *(("connect", said) for said in ("421 4.3.2 busy", "554 5.7.1 not you")),
        *(("ehlo", said) for said in ("421 4.3.2 busy", "451 4.3.0 later", "554 5.7.1 not you")),
        *(("auth", said) for said in ("454 4.7.0 later", "535 5.7.8 wrong password")),
        *(("mail", said) for said in (*LATER, *REFUSALS)),
        *(("rcpt", said) for said in ("535 5.7.8 log in", "530 5.7.0 log in")),
    ],
)
def test_about_us(engine, relay, sink, publication_id, now, stage, said):
    """No row is touched and nobody charged; for good, the digest is paused as well."""
    sink.login = Login("us", "secret")
    url = sink.url.replace("//", "//us:secret@")
    relay = relay.model_copy(update={"smtp_url": type(relay.secret_key)(url)})
    asked = threading.Event()

    def reply(at, _argument):
        at = "ehlo" if at == "helo" else at
        return asked.set() or said if at == stage else None

    sink.reply = reply
    number = begun(engine, publication_id, now)
    is_for_good = said[0] == "5"
    with working(engine, relay):
        assert asked.wait(20)
        over = "paused" if is_for_good else "sending"
        _state, rows = settled(engine, number, lambda state, _rows: state == over)
    assert set(rows.values()) == {("queued", 0)}
    with store.reading(engine) as session:
        reason = session.get(store.Digest, number).pause_reason
    assert (said in reason) if is_for_good else (reason is None)


def test_the_last_row_of_a_digest_bounces(engine, relay, sink, make_publication, make_reader, now):
    """With two senders: when the digest is called sent, that subscription has ended already."""
    relay = relay.model_copy(update={"smtp_connections": 2})
    sink.reply = lambda at, to: (
        "550 5.1.1 no such user" if at == "rcpt" and to.startswith("gone") else None
    )
    with working(engine, relay), working(engine, relay):
        for number in range(3):
            with store.transaction(engine) as session:
                publication = make_publication(session, f"p{number}")
                for name in ("ada", "bob", "eve"):
                    make_reader(session, publication, f"{name}{number}@example.net")
                gone = make_reader(session, publication, f"gone{number}@example.net")
                digest = approved_digest(session, publication, now)
                queue.begin(session, digest, now=datetime.now(UTC))
                digest_id, subscription_id = digest.id, gone.id
            told = when_sent(engine, digest_id, subscription_id)
            assert told == ("bounced", "bounced", "550 5.1.1 no such user")
            _state, rows = seen(engine, digest_id)
            assert sorted(state for state, _ in rows.values()) == ["accepted"] * 3 + ["failed"]


def when_sent(engine, digest_id, subscription_id):
    """As soon as the digest is called sent: the subscription, its newest event, and its note."""
    pause = threading.Event()
    for _ in range(400):
        with store.reading(engine) as session:
            if session.get(store.Digest, digest_id).state == "sent":
                subscription = session.get(store.Subscription, subscription_id)
                newest = list(consent.entries(session, subscription.subscriber_id))[-1].fields
                return subscription.state, newest["type"], newest["note"]
        pause.wait(0.05)
    raise AssertionError("it was not sent")
