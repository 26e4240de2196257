"""Being stopped: what is armed is waited for, nothing else is begun, and every row is right."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from mailing import approved_digest, many_readers, queue_all, states
from sqlalchemy import select, update

from newsletter import store
from newsletter.store.clock import since_boot
from newsletter.worker import Sender, Stop, smtp_pool, stop_on_signals

READERS = 60


@pytest.fixture
def relay(settings, sink):
    """The settings with the sink as relay, on four connections."""
    return settings.model_copy(
        update={"smtp_url": type(settings.secret_key)(sink.url), "smtp_connections": 4}
    )


@pytest.fixture
def digest_id(engine, make_publication, now):
    """A digest that is being sent to READERS readers."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, READERS, now)
        queue_all(session, digest, datetime.now(UTC))
        return digest.id


def run(engine, settings, stop, **over):
    Sender(engine, settings, smtp_pool(settings), relay_delay=0.01).run(stop, **over)


class stopped_at:
    """A script of the sink that stops the sender when some mails were taken."""

    def __init__(self, sink, stop, count, then=None, *, at_once=False):
        self.sink, self.stop, self.count, self.then, self.at_once = sink, stop, count, then, at_once
        self.seconds = None

    def __call__(self, stage, _argument):
        if stage != "dot" or len(self.sink.received) < self.count:
            return None
        if not self.stop.is_set():
            self.seconds = time.monotonic()
            if self.at_once:
                self.stop.at_once.set()
            self.stop.set()
        return self.then


def test_no_mail_is_uncertain_when_the_relay_answers_in_time(engine, relay, sink, digest_id):
    """What has its dot gets its answer; the rest is queued and goes out once, later."""
    stop = Stop()
    sink.reply = stopped_at(sink, stop, 20)
    run(engine, relay, stop)
    found = states(engine)
    assert set(found) == {"accepted", "queued"}
    assert found["accepted"] == len(sink.received) <= 20 + 2 * relay.smtp_connections
    sink.reply = None
    run(engine, relay, Stop(), until_idle=True, digest_id=digest_id)
    assert max(Counter(mail.recipients[0] for mail in sink.received).values()) == 1
    assert states(engine) == {"accepted": READERS}


def test_the_grace_time_ends(engine, relay, sink, digest_id):
    """A relay that says nothing: after the grace time its mails are uncertain, at most one each."""
    settings = relay.model_copy(update={"stop_grace": 0.3})
    stop = Stop()
    sink.reply = script = stopped_at(sink, stop, 20, then="silence")
    run(engine, settings, stop)
    assert time.monotonic() - script.seconds < 5
    found = states(engine)
    assert 1 <= found["uncertain"] <= relay.smtp_connections
    assert found["accepted"] + found["uncertain"] + found["queued"] == READERS, found


def test_at_once_is_at_once(engine, relay, sink, digest_id):
    """A second signal waits for nobody, and leaves no row claimed or armed."""
    stop = Stop()
    sink.reply = script = stopped_at(sink, stop, 20, then="silence", at_once=True)
    run(engine, relay, stop)
    assert time.monotonic() - script.seconds < relay.stop_grace / 2
    assert set(states(engine)) == {"accepted", "uncertain", "queued"}


def test_two_signals_are_haste():
    """SIGTERM is a wish to stop, the next one does not wait for the relay."""
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.is_set(), stop.at_once.is_set()) == (True, False)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.at_once.is_set()


def test_a_database_that_is_locked_is_waited_for(engine, relay, sink, digest_id):
    """No dot is written while nothing can be armed; then it goes on, and nobody gets two."""
    engine.dispose()
    locked = threading.Event()
    held = []

    def reply(stage, _argument):
        if stage == "dot" and len(sink.received) == 10 and not locked.is_set():
            threading.Thread(target=hold).start()
            locked.wait(10)
        return None

    def hold():
        with store.transaction(engine) as session:
            session.execute(select(1))  # it begins with its first statement
            if engine.dialect.name == "postgresql":
                session.connection().exec_driver_sql("LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE")
            before = len(sink.received)
            locked.set()
            time.sleep(1)
            held.append(len(sink.received) - before)

    sink.reply = reply
    run(engine, relay, Stop(), until_idle=True, digest_id=digest_id)
    assert states(engine) == {"accepted": READERS}
    assert max(Counter(mail.recipients[0] for mail in sink.received).values()) == 1
    # What was armed when the lock was taken may still arrive.
    assert held[0] <= relay.smtp_connections


@pytest.mark.parametrize("what", ["epoch", "state"])
def test_a_row_that_was_lost_meanwhile_gets_no_dot(engine, relay, sink, digest_id, what):
    """Somebody else has it: its epoch is newer, or it is not claimed any more."""
    values = {"epoch": store.Delivery.epoch + 1} if what == "epoch" else {"state": "uncertain"}

    def reply(stage, argument):
        if (stage, argument) == ("data", "reader-7@example.net"):
            with store.transaction(engine) as session:
                mine = store.Delivery.address == argument
                session.execute(update(store.Delivery).where(mine).values(**values))
        return None

    sink.reply = reply
    stop = Stop()
    timer = threading.Timer(4, stop.set)
    timer.start()
    run(engine, relay, stop, until_idle=True, digest_id=digest_id)
    timer.cancel()
    assert "reader-7@example.net" not in {mail.recipients[0] for mail in sink.received}
    assert states(engine)["accepted"] == READERS - 1


class StoodStill:
    """A process that gets no time between the commit that armed its first mails and their dots."""

    def __init__(self, monkeypatch, seconds):
        self.seconds, self.rounds, self.is_now = seconds, 0, False
        monkeypatch.setattr("newsletter.failpoints.reached", self.reached)
        monkeypatch.setattr("newsletter.worker.handover.since_boot", self.since_boot)

    def reached(self, point):
        self.rounds += point == "armed"
        self.is_now = self.rounds == 1 and point in ("armed", "settled")

    def since_boot(self):
        return since_boot() + self.seconds * self.is_now


@pytest.mark.parametrize("stands", [False, True])
def test_no_dot_after_the_lease(engine, relay, sink, digest_id, monkeypatch, stands):
    """By then others may have called the rows uncertain, and an operator may have acted on it.

    The bodies of that round are thrown away with their connections, and sent anew.
    """
    begun = Counter()

    def reply(stage, _argument):
        begun[stage] += 1

    sink.reply = reply
    StoodStill(monkeypatch, relay.lease + 1 if stands else relay.lease / 2)
    run(engine, relay, Stop(), until_idle=True, digest_id=digest_id)
    assert states(engine) == {"accepted": READERS}
    assert Counter(mail.recipients[0] for mail in sink.received).most_common(1)[0][1] == 1
    assert begun["dot"] == READERS
    assert (begun["data"] > READERS) is stands


def test_no_dot_when_it_must_end_at_once(engine, relay, sink, digest_id, monkeypatch):
    """It is told so while a mail is being armed; with its dot that one would be uncertain."""
    stop = Stop()

    def reached(point):
        if point == "armed" and len(sink.received) >= 20:
            stop.at_once.set()
            stop.set()

    monkeypatch.setattr("newsletter.failpoints.reached", reached)
    # One connection: while a mail is armed, every other one has its answer.
    run(engine, relay.model_copy(update={"smtp_connections": 1}), stop)
    assert states(engine) == {"accepted": 20, "queued": READERS - 20}
    assert len(sink.received) == 20
