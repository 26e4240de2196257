"""The consent log as the worker sees it: signed on a schedule and before each digest, watched."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from mailing import approved_digest, many_readers, states
from sqlalchemy import event, update

from newsletter import consent, store
from newsletter.config import Settings
from newsletter.consent import Keyring, checkpoint
from newsletter.consent.checkpoint_format import Checkpoint
from newsletter.sending import queue
from newsletter.store.letters import new_letter
from newsletter.worker import Sender, chores, smtp_pool


@pytest.fixture
def relay(settings: Settings, sink) -> Settings:
    """The settings with the sink as relay, and a key."""
    Keyring.of(settings).create(settings.log_origin)
    return settings.model_copy(update={"smtp_url": type(settings.secret_key)(sink.url)})


@pytest.fixture
def reader(engine, make_publication, make_reader, now):
    """A confirmed reader, as the log says too."""
    with store.transaction(engine) as session:
        return make_reader(session, make_publication(session), "ada@example.net")


@pytest.fixture
def running(engine, relay):
    """A worker that runs until the test ends; takes settings that differ."""
    stop = threading.Event()
    threads = []

    def start(**over) -> None:
        settings = relay.model_copy(update=over)
        sender = Sender(engine, settings, smtp_pool(settings))
        threads.append(threading.Thread(target=sender.run, args=(stop,)))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def sizes(engine) -> list[int]:
    with store.reading(engine) as session:
        return [row.size for row in session.query(store.ConsentCheckpoint).order_by("size")]


def add_event(engine, reader) -> None:
    with store.transaction(engine) as session:
        evidence = consent.Evidence(actor="subscriber", channel="preferences")
        subscription = session.get_one(store.Subscription, reader.id)
        kind = consent.EventType.PREFERENCES
        consent.record(session, kind, subscription, evidence, now=datetime.now(UTC))


def log_size(engine) -> int:
    with store.reading(engine) as session:
        return session.get_one(store.Installation, 1).log_size


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_it_signs_at_the_start_and_then_on_schedule(engine, reader, running) -> None:
    """A log that has grown is signed again when it is time to; one that has not, is not."""
    first = log_size(engine)
    running(checkpoint_every=0.2)
    until(lambda: sizes(engine) == [first])
    add_event(engine, reader)
    until(lambda: sizes(engine) == [first, first + 1])
    time.sleep(0.7)
    assert sizes(engine) == [first, first + 1]


def test_it_signs_before_a_scheduled_digest(engine, reader, running) -> None:
    """Whatever the schedule of checkpoints says: what the readers get it for is signed."""
    running(checkpoint_every=1e9)
    first = log_size(engine)
    until(lambda: sizes(engine) == [first])
    add_event(engine, reader)
    with store.transaction(engine) as session:
        publication = session.query(store.Publication).one()
        digest = approved_digest(session, publication, datetime.now(UTC))
        digest.send_at = datetime.now(UTC) - timedelta(seconds=1)
    until(lambda: states(engine) == {"accepted": 1})
    assert sizes(engine) == [first, first + 1]


def test_a_changed_row_stops_the_worker(engine, reader, running, sink) -> None:
    """It verifies when it starts and before a digest: nobody has to ask for it first."""
    with store.transaction(engine) as session:
        session.execute(update(store.ConsentEvent).values(commitment=b"\0" * 32))
        publication = session.query(store.Publication).one()
        digest = approved_digest(session, publication, datetime.now(UTC))
        digest.send_at = datetime.now(UTC) - timedelta(seconds=1)
    running()

    def fault() -> str | None:
        with store.reading(engine) as session:
            return session.get_one(store.Installation, 1).log_fault

    until(lambda: fault() is not None)
    assert "position 0" in fault()
    time.sleep(1)
    assert sink.received == []
    assert sizes(engine) == []


def test_a_machine_without_the_key_signs_nothing(engine, relay, reader, running, sink) -> None:
    """It sends all the same; signing is for the machine that has the key."""
    running(consent_folder=f"{relay.consent_folder}-elsewhere")
    with store.transaction(engine) as session:
        publication = session.query(store.Publication).one()
        many_readers(session, publication, 3, datetime.now(UTC))
        digest = approved_digest(session, publication, datetime.now(UTC))
        digest.send_at = datetime.now(UTC) - timedelta(seconds=1)
    until(lambda: sum(states(engine).values()) == 4 and set(states(engine)) == {"accepted"})
    assert sizes(engine) == []


def queue_letters(engine, reader) -> None:
    """An access letter, a confirmation's cousin and a welcome to the reader."""
    with store.transaction(engine) as session:
        subscription = session.get_one(store.Subscription, reader.id)
        names = (store.LetterName.ACCESS, store.LetterName.WELCOME)
        for name in names:
            new_letter(
                session,
                name,
                subscription.publication,
                subscription.subscriber,
                subscription if name == store.LetterName.WELCOME else None,
                now=datetime.now(UTC),
            )


def test_a_fault_in_the_log_leaves_the_way_to_ones_own_data_open(
    engine, reader, running, sink
) -> None:
    """What a verification found stops digests and welcomes; the mail with which a reader gets at
    their data, to erase it too, goes out.
    """
    with store.transaction(engine) as session:
        checkpoint.halt(session, "position 0: the event is missing")
    queue_letters(engine, reader)
    running()
    until(lambda: states(engine) == {"accepted": 1, "queued": 1})
    time.sleep(0.5)
    assert len(sink.received) == 1
    with store.transaction(engine) as session:
        checkpoint.go_on(session)
    until(lambda: states(engine) == {"accepted": 2})


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_halt_at_the_wrong_moment_ends_no_worker(engine, make_publication, now) -> None:
    """Between the finding of a digest that is to be queued, and its queueing: nothing is queued."""
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, 3, now)
        queue.begin(session, digest, now=now)
    found = []

    @event.listens_for(engine, "after_cursor_execute")
    def halt(_connection, _cursor, statement, *_rest):
        if "queued_at IS NULL" in statement and not found:
            found.append(statement)
            with store.transaction(engine) as session:
                checkpoint.halt(session, "position 0: the event is missing")

    assert not chores.queue_piece(lambda: store.transaction(engine), now, digest.id)
    assert found
    assert states(engine) == {}
    with store.transaction(engine) as session:
        checkpoint.go_on(session)
    assert chores.queue_piece(lambda: store.transaction(engine), now, digest.id)
    assert states(engine) == {"queued": 3}


def test_nothing_leaves_an_older_database(engine, relay, reader, running, sink) -> None:
    """What it takes for unsent may have been sent: not even a letter of a person's own goes out."""
    keyring = Keyring.of(relay)
    newer = Checkpoint(keyring.origin(1), log_size(engine) + 1, b"r" * 32)
    keyring.keep_checkpoint(keyring.signer.sign(newer.text))
    queue_letters(engine, reader)
    running()
    time.sleep(1.5)
    assert states(engine) == {"queued": 2}
    assert sink.received == []
    with store.reading(engine) as session:
        assert "older" in (session.get_one(store.Installation, 1).log_fault or "")


def test_damaged_keys_stop_sending_and_not_the_process(
    engine, relay, reader, running, sink
) -> None:
    """Without them nobody can say whether the database is the right one."""
    keys = Keyring.of(relay).folder / "keys"
    keyring = Keyring.of(relay)
    with store.transaction(engine) as session:
        checkpoint.sign(session, keyring, now=datetime.now(UTC))
    good = keys.read_text()
    keys.write_text("no key\n")
    queue_letters(engine, reader)
    running()
    time.sleep(1)
    assert sink.received == []
    keys.write_text(good)
    until(lambda: states(engine) == {"accepted": 2})
