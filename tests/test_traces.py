"""After an erasure the raw bytes hold nothing of the person: not the file, its log, or a backup."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from newsletter import addresses, consent, store
from newsletter.cli.backup import copy_sqlite
from newsletter.consent.ledger import Ledger
from newsletter.store import traces
from newsletter.subscriptions import confirm, erase, signup

HASH_KEY = b"h" * 32
# Enough pages that some are split and moved, which is what leaves copies behind.
READERS = 400
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def person(number: int) -> tuple[str, str, str]:
    """Address, name and network address; none is part of another one's."""
    return f"reader{number:04}x@traces.example", f"Name{number:04}x", f"198.51.{number:04}x"


def marks(number: int) -> list[bytes]:
    """All that would tell of a person."""
    address, name, client = person(number)
    found = [address.encode(), address.upper().encode(), name.encode(), client.encode()]
    for algorithm in ("sha1", "sha256", "md5"):
        for spelling in (address, address.encode().hex()):
            digest = hashlib.new(algorithm, spelling.encode())
            found += [digest.digest(), digest.hexdigest().encode()]
    return found


def traces_in(data: bytes, numbers: range) -> list[int]:
    return [number for number in numbers if any(mark in data for mark in marks(number))]


@pytest.fixture
def readers(engine: Engine, make_publication: Any, now: Any) -> list[str]:
    """Confirmed readers with mails of every letter, refused and accepted; their subscriber ids."""
    with store.transaction(engine) as session:
        publication = make_publication(session)
        for number in range(READERS):
            address, name, client = person(number)
            evidence = consent.Evidence(
                actor="subscriber",
                channel="form",
                entered=address.upper(),
                client_address=client,
                user_agent=f"Browser of {name}",
            )
            form = signup.Signup(addresses.parse(address), name, "en")
            mail = signup.request(session, publication, form, evidence, hash_key=HASH_KEY, now=now)
            assert mail is not None
            mail.state, mail.reply_text = "accepted", f"250 queued for <{address}>"
            confirm.accept(session, mail.public_id, evidence, hash_key=HASH_KEY, now=now)
        session.add(
            store.Delivery(
                letter="test",
                publication_id=publication.id,
                address=person(7)[0],
                state="accepted",
                due_at=now,
                created_at=now,
            )
        )
    with store.reading(engine) as session:
        query = text("SELECT public_id FROM subscriber ORDER BY id")
        return list(session.scalars(query))


def forget(engine: Engine, readers: list[str], numbers: range, now: Any) -> None:
    for number in numbers:
        with store.transaction(engine) as session:
            found = session.query(store.Subscriber).filter_by(public_id=readers[number]).one()
            by = consent.Evidence(actor="subscriber", channel="preferences")
            erase.forget(session, found, by, hash_key=HASH_KEY, now=now + timedelta(number))


def files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("newsletter.db*")))


def test_no_byte_is_left(engine: Engine, readers: list[str], tmp_path: Path, now: Any) -> None:
    """Whoever was erased is in no table, no free page, no WAL, no ledger and no later backup."""
    gone, here = range(1, READERS, 2), range(0, READERS, 2)
    assert traces_in(files(tmp_path), range(READERS)) == list(range(READERS))
    forget(engine, readers, gone, now)
    assert traces.pending(engine) is not None
    assert erase.clean(engine)
    assert traces.pending(engine) is None
    assert traces_in(files(tmp_path), range(READERS)) == list(here)
    copy_sqlite(tmp_path / "newsletter.db", tmp_path / "copy", lambda _done, _total: None)
    assert traces_in((tmp_path / "copy").read_bytes(), range(READERS)) == list(here)
    ledger = Ledger(tmp_path / "consent")
    assert ledger.catch_up(engine) == len(gone)
    assert traces_in(ledger.file.read_bytes(), range(READERS)) == []
    with store.reading(engine) as session:
        assert consent.verify(session).erased == 2 * len(gone)
        left = session.execute(text("SELECT state, count(*) FROM delivery GROUP BY state")).all()
    assert sum(count for _state, count in left) == 2 * READERS + 1


def test_pending_while_somebody_reads(
    engine: Engine, readers: list[str], tmp_path: Path, now: Any
) -> None:
    """A reader of the old pages is waited for; until it is gone, the cleaning is pending."""
    with closing(sqlite3.connect(tmp_path / "newsletter.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM subscriber").fetchone()
        forget(engine, readers, range(3), now)
        assert not erase.clean(engine, patience=0.2)
        assert traces.pending(engine) is not None
        # Nor does a backup of this moment hold them.
        copy_sqlite(tmp_path / "newsletter.db", tmp_path / "copy", lambda _done, _total: None)
        assert traces_in((tmp_path / "copy").read_bytes(), range(3)) == []
        reader.execute("ROLLBACK")
    assert erase.clean(engine)
    assert traces_in(files(tmp_path), range(5)) == [3, 4]


def test_a_reader_that_ends_in_time(
    engine: Engine, readers: list[str], tmp_path: Path, now: Any
) -> None:
    """It is tried again as long as there is patience."""
    reader = sqlite3.connect(
        tmp_path / "newsletter.db", isolation_level=None, check_same_thread=False
    )
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM subscriber").fetchone()
    forget(engine, readers, range(1), now)
    timer = threading.Timer(0.5, reader.close)
    timer.start()
    assert erase.clean(engine, patience=20)
    timer.join()


def test_a_large_file_is_left_to_the_worker(
    engine: Engine, readers: list[str], tmp_path: Path, now: Any
) -> None:
    """A request does not wait for it; it stays pending, and is done by whoever has the time."""
    forget(engine, readers, range(1), now)
    assert not erase.clean(engine, at_most=1000)
    assert traces.pending(engine) is not None
    assert erase.clean(engine)
    assert erase.clean(engine, at_most=1000), "there is nothing to do any more"
