"""The mail as it arrives: through the worker to a receiver, which holds it against the DNS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mailing import FROZEN, many_readers, states
from signatures import all_pass, changed_bytes, changed_words, key, parts, passes, tags
from sqlalchemy import select

from newsletter import store
from newsletter.errors import ConfigError
from newsletter.mail.dkim import relaxed_body
from newsletter.mail.message import HEADER_NAMES
from newsletter.sending import queue
from newsletter.store import LetterName
from newsletter.store.letters import new_letter
from newsletter.worker import Sender, smtp_pool

KEYS = (key(), key("e1", algorithm="ed25519"))
# It speaks to the relay, which may take it away.
UNSIGNED = "Relay-Idempotency-Key"
N = 30


@pytest.fixture
def relay(settings, sink, tmp_path):
    """The settings with the sink as relay, and with two keys."""
    folder = tmp_path / "dkim"
    for each in KEYS:
        each.save(folder)
    return settings.model_copy(
        update={
            "smtp_url": type(settings.secret_key)(sink.url),
            "retry_delay": 0.1,
            "retry_delay_max": 0.2,
            "smtp_timeout": 10,
            "dkim_folder": str(folder),
            "dkim_keys": [each.name for each in KEYS],
            "idempotency_header": UNSIGNED,
        }
    )


@pytest.fixture
def digest_id(engine, make_publication, now):
    """A digest that was begun, with all that a digest's mail can have."""
    with store.transaction(engine) as session:
        publication = make_publication(
            session, reply_to="editor@example.org", unsubscribe_mailto="leave@example.org"
        )
        digest = store.Digest(publication=publication, subject="The meadow", created_at=now)
        session.add(digest)
        session.flush()
        digest.approve(FROZEN | {"checkpoint": "news.example.org/log\n1\nAAAA\n"}, now)
        session.flush()
        many_readers(session, publication, N, now)
        queue.begin(session, digest, now=datetime.now(UTC))
        return digest.id


def send(engine, settings, digest_id=None):
    """Send until nothing is left to do."""
    sender = Sender(engine, settings, smtp_pool(settings), relay_delay=0.01)
    sender.run(threading.Event(), until_idle=True, digest_id=digest_id, wait=True)


def signing_processes() -> list[int]:
    """Those that this process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = (folder / "cmdline").read_bytes()
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if b"newsletter.mail.signer_main" in program and parent == str(os.getpid()):
                found.append(int(folder.name))
    return found


def test_every_mail_passes_as_received(engine, relay, sink, digest_id):
    """Each reader's mail bears both signatures, and a receiver takes both for good; the record
    is of the mail as it arrived."""
    send(engine, relay)
    assert states(engine) == {"accepted": N}
    assert len({mail.recipients for mail in sink.received}) == N
    for mail in sink.received:
        assert all_pass(mail.raw, KEYS)
        body = parts(mail.raw)[2]
        # What the signer is promised, so that it need not look.
        assert relaxed_body(body) == body
    with store.reading(engine) as session:
        recorded = set(session.scalars(select(store.Delivery.content_sha256)))
    assert recorded == {hashlib.sha256(mail.raw).digest() for mail in sink.received}


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_change_on_the_way_is_noticed(engine, relay, sink, digest_id):
    """Any word of any field that we send, any byte of the body: both signatures break."""
    send(engine, relay)
    raw = sink.received[0].raw
    signatures, fields, _body = parts(raw)
    there = {each.partition(b":")[0].decode() for each in fields}
    # The one that answers something is not on a digest.
    assert there == {*HEADER_NAMES, UNSIGNED} - {"Auto-Submitted"}
    for each in signatures:
        assert {name.lower() for name in there} - {UNSIGNED.lower()} <= set(
            tags(each)["h"].split(":")
        )
    tried = 0
    for changed in (*changed_words(raw, but={UNSIGNED}), *changed_bytes(raw)):
        assert not passes(changed, *KEYS), changed
        assert not passes(changed, *KEYS, number=1), changed
        tried += 1
    assert tried > 1000
    second = b"From: Eve <eve@example.org>\r\n"
    assert not passes(raw.replace(b"From: ", second + b"From: ", 1), *KEYS)
    assert not passes(raw.replace(b"\r\n\r\n", b"\r\n" + second + b"\r\n", 1), *KEYS)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_mail_that_is_tried_again_is_the_same(engine, relay, sink, digest_id):
    """Signatures included: the record of the first try is that of the second, and of the mail."""
    recorded = []

    def reply(stage, argument):
        if (stage, argument) != ("dot", "reader-7@example.net"):
            return None
        with store.reading(engine) as session:
            query = select(store.Delivery.content_sha256).where(store.Delivery.address == argument)
            recorded.append(session.scalar(query))
        return "451 4.7.1 later" if len(recorded) == 1 else None

    sink.reply = reply
    send(engine, relay, digest_id)
    (raw,) = (m.raw for m in sink.received if m.recipients == ("reader-7@example.net",))
    assert recorded == [hashlib.sha256(raw).digest()] * 2
    assert all_pass(raw, KEYS)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_persons_letters_are_signed_too(engine, relay, sink, make_publication, make_reader, now):
    """The confirmation: without a good signature it would be taken for spam first of all."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        reader = make_reader(session, publication, "ada@example.net", state="pending")
        new_letter(
            session, LetterName.CONFIRMATION, publication, reader.subscriber, reader, now=now
        )
    send(engine, relay)
    (mail,) = sink.received
    assert all_pass(mail.raw, KEYS)
    assert b"Auto-Submitted" in mail.raw
    for changed in changed_words(mail.raw, but={UNSIGNED}):
        assert not passes(changed, *KEYS)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_signing_processes_may_die(engine, relay, sink, digest_id):
    """Killed in the middle of a send: every reader gets a signed mail, once."""
    killed = []

    def reply(stage, _argument):
        if stage == "dot" and len(sink.received) in (1, 5, 9):
            for number in signing_processes():
                os.kill(number, signal.SIGKILL)
                killed.append(number)
        return None

    sink.reply = reply
    send(engine, relay.model_copy(update={"smtp_connections": 1}))
    assert killed
    assert Counter(mail.recipients for mail in sink.received).most_common(1)[0][1] == 1
    assert states(engine) == {"accepted": N}
    assert all(all_pass(mail.raw, KEYS) for mail in sink.received)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_mail_from_another_domain_goes_unsigned(engine, relay, sink, digest_id):
    """A signature that is not aligned would help nobody."""
    other = key("s1", "example.com", "ed25519")
    other.save(Path(relay.dkim_folder))
    send(engine, relay.model_copy(update={"dkim_keys": [other.name]}))
    assert len(sink.received) == N
    assert not any(b"DKIM-Signature" in mail.raw for mail in sink.received)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_nothing_is_sent_with_a_key_that_cannot_be_used(engine, relay, sink, digest_id):
    """A missing key, or one that others can read, ends the start with its cure."""
    (Path(relay.dkim_folder) / f"{KEYS[0].name}.pem").chmod(0o644)
    (Path(relay.dkim_folder) / f"{KEYS[1].name}.pem").unlink()
    with pytest.raises(ConfigError) as caught:
        send(engine, relay)
    assert ["chmod 600" in each for each in caught.value.faults] == [True, False]
    assert sink.connections == 0
