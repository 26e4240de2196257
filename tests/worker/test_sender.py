"""The send loop against a real SMTP receiver: each mail once, or its row says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from mailing import approved_digest, leave, many_readers, queue_all, states
from sqlalchemy import select, update

from newsletter import consent, store
from newsletter.mail.pool import Pool
from newsletter.mail.transport import RelayProblem
from newsletter.sending import claim, control, queue, status
from newsletter.store.letters import new_letter
from newsletter.subscriptions import erase
from newsletter.worker import Sender, beat, smtp_pool


@pytest.fixture
def relay(settings, sink):
    """The settings with the sink as relay; quick retries."""
    return settings.model_copy(
        update={
            "smtp_url": type(settings.secret_key)(sink.url),
            "retry_delay": 0.1,
            "retry_delay_max": 0.2,
            "smtp_timeout": 10,
        }
    )


@pytest.fixture
def digest_id(engine, make_publication, now):
    """A digest that was begun, with 50 readers, none of them queued yet."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 50, now)
        queue.begin(session, digest, now=datetime.now(UTC))
        return digest.id


def send(engine, settings, digest_id=None, **over):
    """Send until nothing is left to do."""
    sender = Sender(engine, settings, smtp_pool(settings), relay_delay=0.01)
    sender.run(threading.Event(), until_idle=True, digest_id=digest_id, **over)


def received(sink) -> Counter[str]:
    return Counter(recipient for mail in sink.received for recipient in mail.recipients)


def digest_state(engine, digest_id) -> str:
    with store.reading(engine) as session:
        return session.get(store.Digest, digest_id).state


def delivery(engine, address):
    with store.reading(engine) as session:
        query = select(store.Delivery).where(store.Delivery.address == address)
        return session.scalars(query).one()


def everybody(n=50) -> Counter[str]:
    return Counter(f"reader-{number}@example.net" for number in range(n))


def test_everybody_gets_one_mail(engine, relay, sink, digest_id):
    """Queued, handed over, counted, and the digest is sent."""
    seen = []
    send(engine, relay, digest_id, progress=seen.append)
    assert received(sink) == everybody()
    assert states(engine) == {"accepted": 50}
    assert digest_state(engine, digest_id) == "sent"
    assert (seen[-1]["state"], seen[-1]["counts"]["accepted"]) == ("sent", 50)
    assert len({mail.raw for mail in sink.received}) == 50


def test_a_second_send_mails_nobody(engine, relay, sink, digest_id):
    """Nor does a third."""
    for _ in range(3):
        with store.transaction(engine) as session:
            queue.begin(session, session.get(store.Digest, digest_id), now=datetime.now(UTC))
        send(engine, relay, digest_id)
    assert received(sink) == everybody()


def test_the_record_is_of_the_mail_as_it_arrived(engine, relay, sink, digest_id):
    """content_sha256 is the hash of the bytes that the relay got."""
    import hashlib

    send(engine, relay, digest_id)
    arrived = {mail.recipients[0]: hashlib.sha256(mail.raw).digest() for mail in sink.received}
    with store.reading(engine) as session:
        for row in session.scalars(select(store.Delivery)):
            assert arrived[row.address] == row.content_sha256


@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_who_leaves_while_the_mail_is_handed_over_does_not_get_it(
    engine, relay, sink, digest_id, stage
):
    """Up to the last moment: the unsubscribe commits while the relay waits for the body's dot.

    That it can commit also shows that no transaction is open while the network is used.
    """

    def reply(at, argument):
        if at == stage and argument == "reader-7@example.net":
            leave(engine, argument, datetime.now(UTC))
        return None

    sink.reply = reply
    send(engine, relay, digest_id)
    assert received(sink) == everybody() - Counter(["reader-7@example.net"])
    row = delivery(engine, "reader-7@example.net")
    assert (row.state, row.reason) == ("skipped", "unsubscribed")
    assert digest_state(engine, digest_id) == "sent"


def test_who_left_before_costs_the_relay_nothing(engine, relay, sink, digest_id, now):
    """A mail that must not go out is not even offered."""
    with store.transaction(engine) as session:
        queue_all(session, session.get(store.Digest, digest_id), datetime.now(UTC))
    leave(engine, "reader-7@example.net", now)
    asked = []
    sink.reply = lambda stage, argument: asked.append(argument) if stage == "rcpt" else None
    send(engine, relay, digest_id)
    assert "reader-7@example.net" not in asked
    assert states(engine) == {"accepted": 49, "skipped": 1}


@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
def test_a_mail_that_is_put_off_arrives_later(engine, relay, sink, digest_id, stage):
    """4xx at any stage: tried again, the same bytes, one copy; the others are not held up."""
    tries = []

    def reply(at, argument):
        if at == stage and argument == "reader-7@example.net":
            tries.append(at)
            return "451 4.7.1 later" if len(tries) < 3 else None
        return None

    sink.reply = reply
    send(engine, relay, digest_id, wait=True)
    assert received(sink) == everybody()
    assert delivery(engine, "reader-7@example.net").attempts == 3
    assert digest_state(engine, digest_id) == "sent"


@pytest.mark.parametrize("reason", [None, "retry-changed"])
def test_who_is_erased_while_the_relay_thinks(engine, relay, sink, digest_id, reason):
    """And then it says "later": there is nobody to write to. What may have arrived stays so."""
    with store.transaction(engine) as session:
        queue_all(session, session.get(store.Digest, digest_id), datetime.now(UTC))
        session.execute(update(store.Delivery).values(reason=reason))
    number = delivery(engine, "reader-7@example.net").id
    asked = []

    def reply(at, argument):
        if (at, argument) == ("dot", "reader-7@example.net"):
            asked.append(at)
            by = consent.Evidence(actor="operator", channel="command")
            with store.transaction(engine) as session:
                reader = session.scalars(select(store.Subscriber).filter_by(address=argument)).one()
                erase.forget(session, reader, by, hash_key=b"h" * 32, now=datetime.now(UTC))
            return "451 4.3.0 later"
        return None

    sink.reply = reply
    send(engine, relay, digest_id, wait=True)
    with store.reading(engine) as session:
        row = session.get(store.Delivery, number)
    assert asked == ["dot"]
    assert (row.state, row.reason) == ("uncertain" if reason else "skipped", "erased")
    assert digest_state(engine, digest_id) == "sent"


def test_send_leaves_what_was_put_off(engine, relay, sink, digest_id):
    """Without `wait` it ends when only mails that the relay put off are left."""
    slow = relay.model_copy(update={"retry_delay": 3600, "retry_delay_max": 3600})
    sink.reply = lambda stage, argument: (
        "450 4.2.0 greylisted" if (stage, argument) == ("rcpt", "reader-7@example.net") else None
    )
    send(engine, slow, digest_id)
    assert states(engine) == {"accepted": 49, "deferred": 1}
    assert digest_state(engine, digest_id) == "sending"


@pytest.mark.parametrize("stage", ["rcpt"])
def test_a_refusal_touches_one_reader(engine, relay, sink, digest_id, stage):
    """5xx to a recipient: this row failed with the relay's words, the others arrive."""
    sink.reply = lambda at, argument: (
        "552 5.2.2 full" if (at, argument) == (stage, "reader-7@example.net") else None
    )
    send(engine, relay, digest_id)
    assert received(sink) == everybody() - Counter(["reader-7@example.net"])
    row = delivery(engine, "reader-7@example.net")
    assert (row.state, row.reason, row.reply_code) == ("failed", "refused", 552)
    assert row.reply_text == "5.2.2 full"
    assert digest_state(engine, digest_id) == "sent"


@pytest.mark.parametrize("answer", ["drop", "take-drop", "not SMTP at all"])
def test_a_line_that_breaks_after_the_dot(engine, relay, sink, digest_id, answer):
    """Nobody knows: the row is uncertain, and is never sent again."""
    sink.reply = lambda stage, argument: (
        answer if (stage, argument) == ("dot", "reader-7@example.net") else None
    )
    send(engine, relay, digest_id)
    copies = received(sink)["reader-7@example.net"]
    assert copies == (1 if answer == "take-drop" else 0)
    assert delivery(engine, "reader-7@example.net").state == "uncertain"
    sink.reply = None
    send(engine, relay, digest_id)
    assert received(sink)["reader-7@example.net"] == copies
    assert digest_state(engine, digest_id) == "sent"


@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_a_line_that_breaks_before_the_dot(engine, relay, sink, digest_id, stage):
    """The mail was surely not accepted: it is tried again, and arrives once."""
    tries = []

    def reply(at, argument):
        if (at, argument) == (stage, "reader-7@example.net"):
            tries.append(at)
            return "drop" if len(tries) == 1 else None
        return None

    sink.reply = reply
    send(engine, relay, digest_id, wait=True)
    assert received(sink) == everybody()


def test_a_relay_that_is_not_there(engine, relay, sink, digest_id):
    """Nobody is marked failed or charged an attempt; who waits for it is told."""
    sink.stop()
    with pytest.raises(RelayProblem):
        send(engine, relay, digest_id)
    assert states(engine) == {"queued": 50}
    assert seen(engine)["workers"] == []
    with store.reading(engine) as session:
        assert set(session.scalars(select(store.Delivery.attempts))) == {0}
    sink.start()
    send(engine, relay, digest_id)
    assert received(sink) == everybody()


@pytest.mark.parametrize("stage", ["connect", "mail"])
def test_a_relay_that_refuses_us(engine, relay, sink, digest_id, stage):
    """Our sender or our machine is refused: that says nothing about any reader."""
    sink.reply = lambda at, _argument: "550 5.7.1 not you" if at == stage else None
    with pytest.raises(RelayProblem) if stage == "connect" else nullcontext():
        send(engine, relay, digest_id)
    assert states(engine) == {"queued": 50}
    assert digest_state(engine, digest_id) == "paused"


def test_a_worker_waits_for_a_full_disk(engine, relay, sink, digest_id, capsys):
    """Where claims are noted before their mails may leave: it goes on when there is room again."""
    journal = Path(relay.consent_folder) / "journal"

    def reply(_stage, _argument):
        if not journal.is_symlink():
            journal.unlink()
            journal.symlink_to("/dev/full")
        return None

    sink.reply = reply
    with working(engine, relay):
        told = ""
        wait_for(lambda: journal.is_symlink())
        while told.count("disk_waits") < 2:
            threading.Event().wait(0.05)
            told += capsys.readouterr().out
        sink.reply = None
        journal.unlink()
        wait_for(lambda: digest_state(engine, digest_id) == "sent")
    assert received(sink) == everybody()


def test_a_worker_waits_for_the_relay(engine, relay, sink, digest_id):
    """It does not end, and goes on when the relay is back."""
    sink.stop()
    with working(engine, relay):
        wait_for(lambda: states(engine).get("queued") == 50)
        sink.start()
        wait_for(lambda: digest_state(engine, digest_id) == "sent")
    assert received(sink) == everybody()


class working:
    """A worker in a thread, stopped at the end; what ended it is raised."""

    def __init__(self, engine, settings):
        self.stop = threading.Event()
        self.sender = Sender(engine, settings, smtp_pool(settings), relay_delay=0.01)
        self.errors = []
        self.thread = threading.Thread(target=self._run)

    def _run(self):
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
        assert not self.thread.is_alive()
        if self.errors:
            raise self.errors[0]


def wait_for(condition, seconds=20):
    """Until it is true, or the test fails."""
    pause = threading.Event()
    for _ in range(seconds * 20):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen")


def test_pause_holds_and_resume_goes_on(engine, relay, sink, digest_id):
    """From the next dot on; what is queued stays queued, and arrives once in the end."""
    slow_until = threading.Event()

    def reply(stage, _argument):
        if stage == "dot" and len(sink.received) == 10 and not slow_until.is_set():
            slow_until.set()
            with store.transaction(engine) as session:
                control.pause(session, session.get(store.Digest, digest_id))
        return None

    sink.reply = reply
    send(engine, relay, digest_id)
    found = states(engine)
    assert digest_state(engine, digest_id) == "paused"
    # The mails that were armed when the pause was committed are handed over.
    assert 10 < found["accepted"] <= 11 + relay.smtp_connections
    assert found["queued"] == 50 - found["accepted"]
    with store.transaction(engine) as session:
        control.resume(session, session.get(store.Digest, digest_id))
    send(engine, relay, digest_id)
    assert received(sink) == everybody()


def test_cancel_ends_a_digest(engine, relay, sink, digest_id):
    """What is not handed over is skipped; the counts add up."""

    def reply(stage, _argument):
        if stage == "dot" and len(sink.received) == 10:
            with store.transaction(engine) as session:
                digest = session.get(store.Digest, digest_id)
                if digest.state != "cancelled":
                    control.cancel(session, digest, datetime.now(UTC))
        return None

    sink.reply = reply
    send(engine, relay, digest_id)
    found = states(engine)
    assert found["accepted"] == len(sink.received) < 50
    assert found["skipped"] == 50 - found["accepted"]


def test_a_stopped_worker_finishes_what_is_in_flight(engine, relay, sink, digest_id):
    """No row is left claimed, armed or uncertain; the rest is queued and arrives later."""
    enough = threading.Event()

    def reply(stage, _argument):
        if stage == "dot" and len(sink.received) >= 10:
            enough.set()
        return None

    sink.reply = reply
    with working(engine, relay):
        enough.wait(20)
    found = states(engine)
    assert set(found) <= {"accepted", "queued"}
    assert found["accepted"] == len(sink.received)
    with store.reading(engine) as session:
        assert [row.ended_at is None for row in session.scalars(select(store.Worker))] == [False]
    send(engine, relay, digest_id)
    assert received(sink) == everybody()


def test_two_senders_share_the_work(engine, relay, sink, digest_id):
    """Every mail once, whoever sends it."""
    with working(engine, relay), working(engine, relay):
        wait_for(lambda: digest_state(engine, digest_id) == "sent")
    assert received(sink) == everybody()


def has_worker(engine) -> bool:
    with store.reading(engine) as session:
        return session.scalars(select(store.Worker)).first() is not None


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("only", [True, False])
def test_who_sends_waits_for_another_that_queues(engine, relay, sink, digest_id, only):
    """Its first rows are seen by nobody before they are committed: that is not the end."""
    send_it = threading.Thread(target=send, args=(engine, relay, digest_id if only else None))
    with store.transaction(engine) as session:  # SQLite has one writer, who would hold up both
        queue.piece(session, session.get_one(store.Digest, digest_id), now=datetime.now(UTC))
        send_it.start()
        wait_for(lambda: has_worker(engine))
        send_it.join(1)
        assert send_it.is_alive()
        assert not sink.received
    send_it.join(60)
    assert digest_state(engine, digest_id) == "sent"
    assert received(sink) == everybody()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_long_run_of_bounces_ends_no_lease(
    engine, relay, sink, make_publication, make_reader, now, capsys
):
    """However many subscriptions are to be ended first: nobody takes a living worker's rows."""
    moment = datetime.now(UTC)
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 300, now)
        queue_all(session, digest, moment)
        no_mailbox = {"state": "failed", "reason": "no-mailbox", "settled_at": moment}
        session.execute(update(store.Delivery).values(**no_mailbox))
        letter, publication = store.LetterName.ACCESS, digest.publication
        ada = make_reader(session, make_publication(session, "other"), "ada@example.net")
        new_letter(session, letter, publication, ada.subscriber, ada, now=moment)
    over = threading.Event()
    sink.reply = lambda stage, _argument: over.wait(20) and None if stage == "dot" else None
    with working(engine, relay.model_copy(update={"lease": 0.5})):
        # All in one: dead workers' rows are taken back, and what is over is called sent.
        wait_for(lambda: digest_state(engine, digest.id) == "sent")
        over.set()
        wait_for(lambda: states(engine).get("accepted") == 1)
    assert "leases_over" not in capsys.readouterr().out
    with store.reading(engine) as session:
        found = Counter(session.scalars(select(store.Subscription.state)))
    assert found == {"bounced": 300, "confirmed": 1}


def test_a_dead_workers_rows_are_taken_over(engine, relay, sink, digest_id):
    """When their lease is over: claimed ones are sent, armed ones are not."""
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    with store.transaction(engine) as session:
        queue_all(session, session.get(store.Digest, digest_id), long_ago)
        held = claim.digest(session, digest_id, "dead", limit=10, now=long_ago)
        session.execute(
            update(store.Delivery).where(store.Delivery.id == held[0].id).values(state="armed")
        )
    send(engine, relay, digest_id)
    assert states(engine) == {"accepted": 49, "uncertain": 1}
    assert max(received(sink).values()) == 1


@pytest.mark.parametrize(("over", "taken"), [({"pid": 0}, 50), ({}, 40), ({"place": "other"}, 40)])
def test_a_killed_workers_rows_are_taken_over_soon(engine, relay, sink, digest_id, over, taken):
    """Without waiting for the lease, if it is of this machine and its process is gone."""
    moment = datetime.now(UTC)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with store.transaction(engine) as session:
        beat.begin(session, "w" * 20, moment, lease_seconds=900)
        session.flush()
        values = {"pid": process.pid} if "pid" in over else {"pid": process.pid} | over
        session.execute(update(store.Worker).values(**(values if over else {"pid": os.getpid()})))
        queue_all(session, session.get(store.Digest, digest_id), moment)
        claim.digest(session, digest_id, "w" * 20, limit=10, now=moment)
    with working(engine, relay):
        wait_for(lambda: states(engine).get("accepted") == taken)
    assert states(engine).get("claimed", 0) == 50 - taken


def test_a_scheduled_digest_begins_when_its_time_has_come(
    engine, relay, sink, make_publication, make_reader, now
):
    """By any running worker; one that is for later waits."""
    moment = datetime.now(UTC)
    with store.transaction(engine) as session:
        publication = make_publication(session)
        make_reader(session, publication, "ada@example.net")
        due, later = (approved_digest(session, publication, now) for _ in range(2))
        queue.begin(session, due, now=moment, at=moment + timedelta(seconds=0.5))
        queue.begin(session, later, now=moment, at=moment + timedelta(days=1))
    with working(engine, relay):
        wait_for(lambda: digest_state(engine, due.id) == "sent")
    assert digest_state(engine, later.id) == "approved"
    assert received(sink) == Counter(["ada@example.net"])


def test_a_persons_own_letter_goes_first(engine, relay, sink, digest_id, make_reader):
    """A confirmation asked for in the middle of a digest is not the last to arrive."""
    asked = threading.Event()

    def reply(stage, _argument):
        if stage == "dot" and not asked.is_set():
            asked.set()
            moment = datetime.now(UTC)
            with store.transaction(engine) as session:
                digest = session.get(store.Digest, digest_id)
                reader = make_reader(session, digest.publication, "new@example.net", "pending")
                reader.pending_since = moment
                letter = store.LetterName.CONFIRMATION
                new_letter(
                    session, letter, digest.publication, reader.subscriber, reader, now=moment
                )
        return None

    sink.reply = reply
    send(engine, relay.model_copy(update={"smtp_connections": 1}), digest_id)
    order = [mail.recipients[0] for mail in sink.received]
    assert len(order) == 51
    assert order.index("new@example.net") <= 21  # behind the batch that was under way


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_letters_wait_for_no_limit(engine, relay, sink, digest_id, make_reader):
    """They all leave while the digest may send next to nothing, and take its share besides."""
    moment = datetime.now(UTC)
    with store.transaction(engine) as session:
        publication = session.get(store.Digest, digest_id).publication
        readers = session.scalars(select(store.Subscription)).all()
        for reader in readers:
            letter = store.LetterName.ACCESS
            new_letter(session, letter, publication, reader.subscriber, reader, now=moment)
    with working(engine, relay.model_copy(update={"mails_per_second": 0.05})):
        wait_for(lambda: len(sink.received) >= 50)
        number = welcome(engine, digest_id)  # while the digest is held
        wait_for(lambda: letter_state(engine, number) == "accepted", seconds=5)
    with store.reading(engine) as session:
        sent = Counter(
            session.scalars(select(store.Delivery.letter).where(store.Delivery.state == "accepted"))
        )
    assert sent == {"access": 50, "welcome": 1}


def test_only_personal_letters_when_asked(engine, relay, sink, digest_id):
    """`digests=False`: a test mail goes out without setting off a digest."""
    from newsletter import addresses

    with store.transaction(engine) as session:
        digest = session.get(store.Digest, digest_id)
        queue.test(session, digest, addresses.parse("me@example.org"), datetime.now(UTC))
    send(engine, relay, digests=False)
    assert received(sink) == Counter(["me@example.org"])


def test_a_mail_that_cannot_be_written_fails_alone(engine, relay, sink, digest_id):
    """The row says so, and the others arrive."""
    with store.transaction(engine) as session:
        queue_all(session, session.get(store.Digest, digest_id), datetime.now(UTC))
        session.execute(
            update(store.Delivery)
            .where(store.Delivery.address == "reader-7@example.net")
            .values(address="reader-7@")
        )
    send(engine, relay, digest_id)
    row = delivery(engine, "reader-7@")
    assert (row.state, row.reason) == ("failed", "unwritable")
    assert received(sink) == everybody() - Counter(["reader-7@example.net"])


def test_a_row_that_we_stumble_over_fails_alone(engine, relay, sink, digest_id, capsys):
    """Whatever goes wrong in the making: the log says where, and the others arrive."""
    impossible = datetime(1, 1, 1, tzinfo=UTC)
    with store.transaction(engine) as session:
        queue_all(session, session.get(store.Digest, digest_id), datetime.now(UTC))
        session.execute(
            update(store.Delivery)
            .where(store.Delivery.address == "reader-7@example.net")
            .values(created_at=impossible)
        )
    send(engine, relay, digest_id)
    row = delivery(engine, "reader-7@example.net")
    assert (row.state, row.reason) == ("failed", "unwritable")
    assert received(sink) == everybody() - Counter(["reader-7@example.net"])
    [told] = [line for line in capsys.readouterr().out.splitlines() if "unwritable" in line]
    assert f"delivery={row.id}" in told
    assert re.search(r"place='?\w+\.py:\d+", told)
    assert "reader-7" not in told


def test_a_digest_that_we_stumble_over_stops_no_other(
    engine, relay, sink, digest_id, make_publication, make_reader, now
):
    """It is paused and says why; nobody is marked failed, and its mails go once it is mended."""
    with store.transaction(engine) as session:
        broken = approved_digest(session, make_publication(session, "other"), now)
        make_reader(session, broken.publication, "ada@example.net")
        queue.begin(session, broken, now=datetime.now(UTC))
        session.flush()
        number, content = broken.id, broken.frozen
        spoilt = update(store.Digest).where(store.Digest.id == number)
        session.execute(spoilt.values(frozen={**content, "slots": 7}))
    send(engine, relay)
    assert received(sink) == everybody()
    row = delivery(engine, "ada@example.net")
    assert (row.state, row.attempts) == ("queued", 0)
    with store.transaction(engine) as session:
        paused = session.get_one(store.Digest, number)
        assert paused.state == store.DigestState.PAUSED
        assert paused.pause_reason.startswith("No mail can be made of this digest: ")
        paused.frozen = content
        control.resume(session, paused)
    send(engine, relay)
    assert received(sink) == everybody() + Counter(["ada@example.net"])


def test_a_relay_without_smtputf8_refuses_only_who_needs_it(
    engine, relay, sink, digest_id, make_reader
):
    """An address outside ASCII fails with a reason, the others arrive."""
    sink.smtputf8 = False
    with store.transaction(engine) as session:
        publication = session.get(store.Digest, digest_id).publication
        make_reader(session, publication, "jürgen@example.net")
    send(engine, relay, digest_id)
    assert delivery(engine, "jürgen@example.net").state == "failed"
    assert received(sink) == everybody()


def test_an_error_in_a_connection_ends_the_worker(engine, relay, digest_id):
    """It is raised, not swallowed; no row stays claimed."""

    class Faulty(Pool):
        def offer(self, offer):
            raise ZeroDivisionError("a fault of ours")

    server = relay.smtp
    pool = partial(Faulty, server, size=2, timeout=5)
    sender = Sender(engine, relay, pool)
    with pytest.raises(ZeroDivisionError):
        sender.run(threading.Event())
    assert states(engine) == {"queued": 50}
    assert seen(engine)["workers"] == []


def seen(engine):
    """What an operator sees of workers."""
    with store.reading(engine) as session:
        return status.overview(session, datetime.now(UTC))


def test_a_worker_says_that_it_lives(engine, relay):
    """It is there while it runs; of those that ended one row says when that was."""
    assert seen(engine)["worker_seen_at"] is None
    for _ in range(3):
        with working(engine, relay):
            wait_for(lambda: len(seen(engine)["workers"]) == 1)
        assert seen(engine)["workers"] == []
    ended = datetime.fromisoformat(seen(engine)["worker_seen_at"])
    assert timedelta(0) <= datetime.now(UTC) - ended < timedelta(seconds=60)
    with store.reading(engine) as session:
        assert len(session.scalars(select(store.Worker)).all()) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_queueing_does_not_hold_up_the_mail(engine, relay, sink, make_publication, now):
    """On a database with one writer: while rows are made mails leave, and own letters at once."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 20_000, now)
        queue.begin(session, digest, now=datetime.now(UTC))
    waited = []
    with working(engine, relay):
        while not is_queued(engine, digest.id):
            number, began = welcome(engine, digest.id), time.monotonic()
            wait_for(lambda number=number: letter_state(engine, number) == "accepted")
            waited.append(time.monotonic() - began)
            sent = states(engine)["accepted"]
    # More than one mail for each piece of a thousand rows; how many more is the machine's matter.
    assert sent - len(waited) > 20
    assert waited
    assert sorted(waited)[len(waited) // 2] < 2


def is_queued(engine, digest_id) -> bool:
    with store.reading(engine) as session:
        return session.get(store.Digest, digest_id).queued_at is not None


def letter_state(engine, number) -> str:
    with store.reading(engine) as session:
        return session.get(store.Delivery, number).state


def welcome(engine, digest_id) -> int:
    """Queue a reader's own letter; its number."""
    with store.transaction(engine) as session:
        publication = session.get(store.Digest, digest_id).publication
        reader = session.scalars(select(store.Subscription).limit(1)).one()
        letter = store.LetterName.WELCOME
        moment = datetime.now(UTC)
        made = new_letter(session, letter, publication, reader.subscriber, reader, now=moment)
        session.flush()
        return made.id
