"""Through a real relay: what our sender hands to Postfix lies in the mailboxes, each mail once."""

from __future__ import annotations

import email
import email.policy
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from crash.ours import send_all
from crash.ours import settings as chosen
from crash.postfix import Postfix, why_not
from mailing import approved_digest, many_readers, queue_all, states

from newsletter import store

READERS = 200
_WORKER = """
import sys
from pathlib import Path
from crash.ours import sender, settings
from newsletter import store
url, folder, port = sys.argv[1:]
sender(store.connect(url), settings(url, Path(folder), int(port), connections=10))()
"""


@pytest.fixture(scope="module")
def postfix():
    """A relay with a mailbox for each reader."""
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with Postfix(f"reader-{number}" for number in range(READERS)) as running:
        yield running


def arrived(postfix, message_ids: set[str], *, at_least: int) -> dict[str, list[str]]:
    """Of these mails, the Message-IDs in each mailbox; waits until so many have arrived."""
    end = time.monotonic() + 60
    while True:
        found = {
            name: [
                email.message_from_bytes(raw, policy=email.policy.default)["Message-ID"]
                for raw in mails
            ]
            for name, mails in postfix.mails().items()
        }
        ours = {name: [m for m in ids if m in message_ids] for name, ids in found.items()}
        if sum(map(len, ours.values())) >= at_least or time.monotonic() > end:
            return ours
        time.sleep(0.1)


def is_sent(engine) -> bool:
    with store.reading(engine) as session:
        return session.query(store.Digest).one().state == "sent"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["in peace", "killed meanwhile"])
def test_each_mail_is_in_its_mailbox_once(
    engine, settings, postfix, tmp_path, make_publication, now, is_killed
):
    """Of a digest to 200 readers; after a kill, nobody is missing but the uncertain."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        many_readers(session, publication, READERS, now)
        digest = approved_digest(session, publication, now)
        queue_all(session, digest, datetime.now(UTC))
        message_ids = {row.message_id: row.address for row in session.query(store.Delivery)}
    url = settings.database_url
    if is_killed:
        worker = subprocess.Popen(
            [sys.executable, "-c", _WORKER, url, str(tmp_path), str(postfix.port)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        while states(engine).get("accepted", 0) < READERS / 4:
            assert worker.poll() is None
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    send_all(engine, chosen(url, tmp_path, postfix.port, connections=10), lambda: is_sent(engine))
    counts = states(engine)
    assert set(counts) <= {"accepted", "uncertain"}
    assert counts.get("uncertain", 0) <= (10 if is_killed else 0)
    found = arrived(postfix, set(message_ids), at_least=counts["accepted"])
    in_boxes = [message for mails in found.values() for message in mails]
    assert len(in_boxes) == len(set(in_boxes)), "somebody has it twice"
    assert len(in_boxes) >= counts["accepted"]
    for name, mails in found.items():
        assert [message_ids[message] for message in mails] == [f"{name}@example.net"] * len(mails)
