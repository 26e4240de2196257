"""Workers as processes of their own: stopped, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mailing import approved_digest, many_readers, queue_all, states

from newsletter import store
from newsletter.worker import Sender, smtp_pool

_WORKER = """
import sys
from pathlib import Path
from newsletter import config, store
from newsletter.worker import run_worker, stop_on_signals

settings = config.load(Path(sys.argv[1])).settings.model_copy(update={"lease": 2})
engine = store.connect(settings.database_url)
with stop_on_signals() as stop:
    run_worker(engine, settings, stop)
engine.dispose()
"""
READERS = 200


@pytest.fixture
def installation(tmp_path: Path, engine, settings, sink, make_publication, now):
    """A settings file for workers, and a digest of 200 readers; a mail takes the relay a while."""
    relay = settings.model_copy(update={"smtp_url": type(settings.secret_key)(sink.url)})
    file = tmp_path / "newsletter.toml"
    url = relay.database_url
    file.write_text(
        f'base_url = "{relay.base_url}"\nsecret_key = "{"s" * 40}"\nhash_key = "{"h" * 32}"\n'
        f'database_url = "{url}"\nsmtp_url = "{sink.url}"\n'
    )
    with store.transaction(engine) as session:
        digest = approved_digest(session, make_publication(session), now)
        many_readers(session, digest.publication, READERS, now)
        queue_all(session, digest, datetime.now(UTC))
    return file, relay.model_copy(update={"lease": 2}), digest.id


def start(file: Path) -> subprocess.Popen[bytes]:
    root = Path(store.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(file)], env=environment, stdout=subprocess.DEVNULL
    )


def when_some_arrived(sink, count: int) -> threading.Event:
    """Set when the sink has taken `count` mails."""
    reached = threading.Event()

    def reply(stage: str, _argument: str) -> None:
        if stage == "dot" and len(sink.received) >= count:
            reached.set()

    sink.reply = reply
    return reached


def test_sigterm_ends_a_worker_cleanly(engine, installation, sink):
    """Exit code 0; nothing is left claimed or uncertain, and the rest is there to be sent."""
    file, settings, digest_id = installation
    some = when_some_arrived(sink, 10)
    process = start(file)
    assert some.wait(60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    found = states(engine)
    assert set(found) <= {"accepted", "queued"}
    assert found["accepted"] == len(sink.received)
    with store.reading(engine) as session:
        assert session.query(store.Worker).filter_by(ended_at=None).count() == 0
    Sender(engine, settings, smtp_pool(settings)).run(
        threading.Event(), until_idle=True, digest_id=digest_id
    )
    assert Counter(mail.recipients[0] for mail in sink.received).most_common(1)[0][1] == 1
    assert len(sink.received) == READERS


def test_a_killed_worker_doubles_and_loses_nobody(engine, installation, sink):
    """After SIGKILL the rest is sent once; at most one mail for each connection is uncertain."""
    file, settings, digest_id = installation
    some = when_some_arrived(sink, 10)
    process = start(file)
    assert some.wait(60)
    process.kill()
    process.wait(30)
    Sender(engine, settings, smtp_pool(settings)).run(
        threading.Event(), until_idle=True, digest_id=digest_id
    )
    found = states(engine)
    assert set(found) <= {"accepted", "uncertain"}
    assert sum(found.values()) == READERS
    assert found.get("uncertain", 0) <= settings.smtp_connections
    assert max(Counter(mail.recipients[0] for mail in sink.received).values()) == 1
    assert len(sink.received) >= found["accepted"]


def test_two_processes_help_each_other(engine, installation, sink):
    """On one database, SQLite too: every mail once."""
    file, _, _ = installation
    done = when_some_arrived(sink, READERS - 1)
    processes = [start(file), start(file)]
    assert done.wait(60)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in processes] == [0, 0]
    assert max(Counter(mail.recipients[0] for mail in sink.received).values()) == 1
    assert states(engine) == {"accepted": READERS}
